"""Bytes <-> arrays. The only place that imports an image library; knows nothing of models or HTTP.

Whatever bytes come in, what goes out is an array or a Problem.
"""

from service.codec.npy import read_npy, write_npy
from service.codec.picture import (
    ENCODABLE,
    LazyPicture,
    Picture,
    composite,
    decode,
    encode,
    is_fast_path,
)
from service.codec.resize import fit_alpha_to_size, fit_to_size

__all__ = [
    "ENCODABLE",
    "LazyPicture",
    "Picture",
    "composite",
    "decode",
    "encode",
    "fit_alpha_to_size",
    "fit_to_size",
    "is_fast_path",
    "read_npy",
    "write_npy",
]

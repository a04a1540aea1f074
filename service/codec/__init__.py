"""Bytes <-> arrays. The only place that imports an image library; knows nothing of models or HTTP.

Whatever bytes come in, what goes out is an array or a Problem.
"""

from service.codec.fit import fit, fit_alpha
from service.codec.npy import read_npy, write_npy
from service.codec.picture import (
    WRITTEN,
    Opened,
    Picture,
    composite,
    decode,
    encode,
    plain,
)

__all__ = [
    "WRITTEN",
    "Opened",
    "Picture",
    "composite",
    "decode",
    "encode",
    "fit",
    "fit_alpha",
    "plain",
    "read_npy",
    "write_npy",
]

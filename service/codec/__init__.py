"""Decodes and encodes images and .npy arrays. Only this package imports image libraries.

Decoding any bytes either returns an array or raises a `Problem`.
"""

from service.codec.npy import read_npy, write_npy
from service.codec.picture import (
    ENCODABLE,
    LazyPicture,
    Picture,
    composite,
    decode,
    dropped_metadata,
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
    "dropped_metadata",
    "encode",
    "fit_alpha_to_size",
    "fit_to_size",
    "is_fast_path",
    "read_npy",
    "write_npy",
]

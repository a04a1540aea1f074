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
    encode,
    is_fast_path,
)
from service.codec.resize import fit_alpha_to_size, fit_to_size
from service.codec.scans import WRITABLE, Scan, encode_any, read_scan

__all__ = [
    "ENCODABLE",
    "WRITABLE",
    "LazyPicture",
    "Picture",
    "Scan",
    "composite",
    "decode",
    "encode",
    "encode_any",
    "fit_alpha_to_size",
    "fit_to_size",
    "is_fast_path",
    "read_npy",
    "read_scan",
    "write_npy",
]

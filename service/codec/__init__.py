"""Decodes and encodes images and .npy arrays. Only this package imports image libraries.

Decoding any bytes either returns an array or raises a `Problem`. To add a format, start at `signatures`, where formats
are detected; `encoder` and `pages` encode, and `limits` states the largest sizes.
"""

from service.codec.alpha import composite, fill_transparent
from service.codec.encoder import ENCODABLE, dropped_metadata, encode
from service.codec.folders import FORMAT_BY_SUFFIX, is_system_file, list_files
from service.codec.limits import describe_limit, fits, types_too_small
from service.codec.npy import read_npy, write_npy
from service.codec.pages import LOSSY, WRITABLE, PagedImage, encode_any, read_pages
from service.codec.picture import LazyPicture, Picture, decode, is_fast_path
from service.codec.png import write_gray16
from service.codec.resize import fit_alpha_to_size, fit_to_size

__all__ = [
    "ENCODABLE",
    "FORMAT_BY_SUFFIX",
    "LOSSY",
    "WRITABLE",
    "LazyPicture",
    "PagedImage",
    "Picture",
    "composite",
    "decode",
    "describe_limit",
    "dropped_metadata",
    "encode",
    "encode_any",
    "fill_transparent",
    "fit_alpha_to_size",
    "fit_to_size",
    "fits",
    "is_fast_path",
    "is_system_file",
    "list_files",
    "read_npy",
    "read_pages",
    "types_too_small",
    "write_gray16",
    "write_npy",
]

"""Reads and writes NumPy's .npy format without `numpy.load`, so that a header cannot cause a large allocation."""

from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from service.errors import InvalidArray, MalformedBody

MAX_HEADER_BYTES = 4096
CACHEABLE_HEADER_BYTES = 256  # size up to which parsed headers are cached: NumPy parses them as Python source
HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Header = tuple[
    tuple[Any, ...], bool, np.dtype[Any], int
]  # shape, Fortran order, dtype, and offset of the data in bytes


def read_npy(data: bytes) -> NDArray[Any]:
    """Read an array of floats, integers or booleans, in any byte order and memory layout.

    The result has the native byte order, 1 to 8 dimensions and at least one element. It is a read-only view of `data`
    where possible. Raises MalformedBody if `data` is not a .npy file of version 1 or 2, and InvalidArray if the dtype
    or shape is not supported. Pickled objects are never loaded.
    """
    header_bytes = 10 + int.from_bytes(data[8:10], "little")
    cacheable = data[6:8] == b"\x01\x00" and header_bytes <= CACHEABLE_HEADER_BYTES
    shape, fortran_order, dtype, start = _parse_header_cached(data[:header_bytes]) if cacheable else _parse_header(data)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise InvalidArray("the dtype of the array is not supported; send uint8 or float32")
    if any(type(side) is not int or side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(data) - start:
        raise MalformedBody("the size of the .npy data does not match the shape and dtype in its header")
    if not 1 <= len(shape) <= 8 or not all(shape):
        raise InvalidArray("the array must have 1 to 8 dimensions and at least one element")
    flat = np.frombuffer(data, dtype, offset=start)
    array = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_header(data: bytes) -> Header:
    file = BytesIO(data)
    try:
        reader = HEADER_READERS[npy.read_magic(file)]
        shape, fortran_order, dtype = reader(file, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # NumPy evaluates the header as Python source and raises many classes
        raise MalformedBody("the body is not a .npy file of version 1 or 2") from error
    return shape, fortran_order, dtype, file.tell()


_parse_header_cached = lru_cache(maxsize=256)(_parse_header)


def write_npy(array: NDArray[Any]) -> bytes:
    """Return the array as a .npy file of version 1 in C order."""
    array = np.ascontiguousarray(array)
    return b"".join((_header_bytes(array.dtype, array.shape), array.data))


@lru_cache(maxsize=256)
def _header_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    return file.getvalue()

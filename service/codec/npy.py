"""Arrays in numpy's .npy format, read without `numpy.load`: nothing is allocated by the header's word."""

from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from service.errors import InvalidArray, MalformedBody

MAX_HEADER_BYTES = 4096
CACHEABLE_HEADER_BYTES = 256  # bytes of a header that is remembered with what it says: numpy parses it as Python source
HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Header = tuple[tuple[Any, ...], bool, np.dtype[Any], int]  # shape, Fortran order, type, and where the numbers begin


def read_npy(data: bytes) -> NDArray[Any]:
    """The array: any byte order and layout, of floats, integers or booleans; a view where the bytes allow it.

    Raises MalformedBody on what is no .npy, InvalidArray on types and shapes that are not taken (objects are never
    unpickled).
    """
    length = 10 + int.from_bytes(data[8:10], "little")
    short = data[6:8] == b"\x01\x00" and length <= CACHEABLE_HEADER_BYTES
    shape, fortran, dtype, start = _parse_header_cached(data[:length]) if short else _parse_header(data)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise InvalidArray("the array is of a type that is not taken; send uint8 or float32")
    if any(type(side) is not int or side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(data) - start:
        raise MalformedBody("the .npy does not hold as many bytes as its header says")
    if not 1 <= len(shape) <= 8 or not all(shape):
        raise InvalidArray("the array is empty, or has no dimension or more than eight")
    flat = np.frombuffer(data, dtype, offset=start)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_header(data: bytes) -> Header:
    file = BytesIO(data)
    try:
        reader = HEADER_READERS[npy.read_magic(file)]
        shape, fortran, dtype = reader(file, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # numpy evaluates the header with Python's tokenizer: a dozen classes
        raise MalformedBody("the body is no .npy file of version 1 or 2") from error
    return shape, fortran, dtype, file.tell()


_parse_header_cached = lru_cache(maxsize=256)(_parse_header)


def write_npy(array: NDArray[Any]) -> bytes:
    """The array as a .npy file, version 1, C order."""
    array = np.ascontiguousarray(array)
    return b"".join((_header_bytes(array.dtype, array.shape), array.data))


@lru_cache(maxsize=256)
def _header_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    out = BytesIO()
    described = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(out, described)
    return out.getvalue()

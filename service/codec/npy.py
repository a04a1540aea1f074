"""Arrays in numpy's .npy format, read without `numpy.load`: nothing is allocated by the header's word."""

from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from service.errors import InvalidArray, MalformedBody

HEADER_BYTES = 4096
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(data: bytes) -> NDArray[Any]:
    """The array: any byte order and layout, of floats, integers or booleans; a view where the bytes allow it.

    Raises MalformedBody on what is no .npy, InvalidArray on types and shapes that are not taken (objects are never
    unpickled).
    """
    file = BytesIO(data)
    try:
        reader = READERS[npy.read_magic(file)]
        shape, fortran, dtype = reader(file, max_header_size=HEADER_BYTES)
    except Exception as error:  # numpy evaluates the header with Python's tokenizer: a dozen classes
        raise MalformedBody("the body is no .npy file of version 1 or 2") from error
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise InvalidArray("the array is of a type that is not taken; send uint8 or float32")
    rest = memoryview(data)[file.tell() :]
    if any(type(side) is not int or side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(rest):
        raise MalformedBody("the .npy does not hold as many bytes as its header says")
    if not 1 <= len(shape) <= 8 or not all(shape):
        raise InvalidArray("the array is empty, or has no dimension or more than eight")
    flat = np.frombuffer(rest, dtype)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def write_npy(array: NDArray[Any]) -> bytes:
    """The array as a .npy file, version 1, C order."""
    out = BytesIO()
    npy.write_array(out, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return out.getvalue()

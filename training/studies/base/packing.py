"""Small arrays in JSON: type, shape, and the compressed bytes in base64."""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Convert an array to JSON values. Floats are stored as float16, which is enough for figures."""
    rounded = array.astype(np.float16) if array.dtype.kind == "f" else array
    little = rounded.astype(rounded.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(array.shape),
        "zlib": base64.b64encode(zlib.compress(little.tobytes(), 9)).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> NDArray[Any]:
    """Invert `pack`; floats are returned as float32. Also reads the older form with uncompressed bytes in `data`."""
    content = (
        base64.b64decode(packed["data"]) if "data" in packed else zlib.decompress(base64.b64decode(packed["zlib"]))
    )
    array = np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
    return array.astype(np.float32) if array.dtype.kind == "f" else array

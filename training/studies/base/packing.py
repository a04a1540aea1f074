"""Small arrays inside JSON: base64 of their bytes, compressed, with type and shape."""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """The array as JSON values; floats in 16 bits, which a figure does not miss."""
    kept = array.astype(np.float16) if array.dtype.kind == "f" else array
    little = kept.astype(kept.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(array.shape),
        "zlib": base64.b64encode(zlib.compress(little.tobytes(), 9)).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> NDArray[Any]:
    """The array that `pack` was given; floats as float32."""
    content = (
        base64.b64decode(packed["data"]) if "data" in packed else zlib.decompress(base64.b64decode(packed["zlib"]))
    )
    array = np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
    return array.astype(np.float32) if array.dtype.kind == "f" else array

"""Conversions between arrays and the tensors of a card, and their difference."""

import base64
from typing import Literal

import numpy as np

from service.card import Tensor
from service.errors import ModelRejected
from service.types import Array


def to_array(tensor: Tensor) -> Array:
    """The array that a card's tensor holds. Raises ModelRefused when its bytes don't fill its shape."""
    try:
        return np.frombuffer(base64.b64decode(tensor.data), np.dtype(tensor.dtype)).reshape(tensor.shape)
    except ValueError as error:
        raise ModelRejected("a probe's bytes do not fill its shape") from error


def to_tensor(array: Array) -> Tensor:
    """The array as a card's tensor; uint8 or float32."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    dtype: Literal["uint8", "float32"] = "uint8" if array.dtype == np.uint8 else "float32"
    return Tensor(dtype=dtype, shape=list(array.shape), data=data)


def max_difference(actual: Array, expected: Array) -> float:
    """Grey levels between pictures; between floats the largest difference relative to the largest magnitude."""
    if actual.shape != expected.shape or not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return float("inf")
    gap = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
    return gap if expected.dtype == np.uint8 else gap / max(float(np.abs(expected).max()), 1e-12)

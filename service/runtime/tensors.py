"""Converts between arrays and the tensors of a card, and compares arrays."""

import base64
from typing import Literal

import numpy as np

from service.card import Tensor
from service.errors import ModelRejected
from service.types import Array, Crop


def to_array(tensor: Tensor) -> Array:
    """Return a card's tensor as an array. Raises ModelRejected if the size of the data does not match the shape."""
    try:
        return np.frombuffer(base64.b64decode(tensor.data), np.dtype(tensor.dtype)).reshape(tensor.shape)
    except ValueError as error:
        raise ModelRejected("the size of a probe's data does not match its shape") from error


def to_tensor(array: Array) -> Tensor:
    """Return a uint8 or float32 array as a tensor for a card."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    dtype: Literal["uint8", "float32"] = "uint8" if array.dtype == np.uint8 else "float32"
    return Tensor(dtype=dtype, shape=list(array.shape), data=data)


def crop_images(images: Array, crop: Crop) -> Array:
    """Return a view of images (N,H,W,C) without the pixels of the crop."""
    top, left, bottom, right = crop
    return images[:, top : images.shape[1] - bottom, left : images.shape[2] - right]


def uneven_crop(images: Array) -> Crop:
    """Return a crop of images (N,H,W,C) that leaves out a different share of them at each side, to test graphs with."""
    height, width = images.shape[1:3]
    return height * 2 // 5, width // 5, height // 8, width // 4


def max_difference(actual: Array, expected: Array) -> float:
    """Return the largest absolute difference of two arrays.

    It is in grey levels for uint8 arrays, and divided by the largest magnitude of `expected` for floats. If the shapes
    differ or a value is not finite, it is infinite.
    """
    if actual.shape != expected.shape or not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return float("inf")
    difference = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
    return difference if expected.dtype == np.uint8 else difference / max(float(np.abs(expected).max()), 1e-12)

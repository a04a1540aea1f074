"""Validation of arrays in request bodies against the card of a model."""

import numpy as np

from service.card import Card, ImageInput, Operation
from service.errors import InvalidArray
from service.types import Array


def describe_expected(card: Card, operation: Operation) -> str:
    """Describe the dtype and shape that an array must have."""
    shape = "".join(f",{side or 'any'}" for side in expected_shape(card, operation))
    if operation == "decode":
        return f"codes must be float32 N{shape}"
    if isinstance(card.input, ImageInput):
        return f"images must be uint8, or float in 0..1, N{shape}"
    return f"vectors must be float32 N{shape}"


def expected_shape(card: Card, operation: Operation) -> list[int | None]:
    """Return the shape of one item, without N; None stands for any size."""
    if operation == "decode":
        return card.code.shape
    if isinstance(card.input, ImageInput):
        return [card.input.height, card.input.width, card.input.channels]
    return [card.input.features]


def validate_array(array: Array, card: Card, operation: Operation) -> Array:
    """Return the array in the dtype of the graph: uint8 for images, float32 for codes and vectors; N first.

    Floats in 0..1 become images by rounding to 0..255. Raises InvalidArray if the shape or dtype does not fit, or if
    numbers are not finite.
    """
    shape, sides = expected_shape(card, operation), [*array.shape[1:]]
    if sides != shape and not _fit_any_size(sides, shape):
        sizes = ",".join(map(str, array.shape))
        raise InvalidArray(f"{describe_expected(card, operation)}; this array is {array.dtype} {sizes}")
    if operation == "decode" or not isinstance(card.input, ImageInput):
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise InvalidArray("all numbers must be finite in float32")
        return array
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not ((array >= 0) & (array <= 1)).all():
        raise InvalidArray(f"{describe_expected(card, operation)}; this array is {_describe_range(array)}")
    return np.rint(array * 255).astype(np.uint8)


def _describe_range(array: Array) -> str:
    """Return the dtype and the range of an array, and how to convert one in 0..255."""
    if not array.size or array.dtype.kind not in "biuf":
        return str(array.dtype)
    low, high = float(array.min()), float(array.max())
    hint = ": convert it by .astype(numpy.uint8)" if low >= 0 and 1 < high <= 255 else ""
    return f"{array.dtype} from {low:g} to {high:g}{hint}"


def _fit_any_size(sides: list[int], shape: list[int | None]) -> bool:
    """Return whether the sides of an item are those of a shape; None stands for any size."""
    return len(sides) == len(shape) and all(
        expected in (None, side) for expected, side in zip(shape, sides, strict=True)
    )

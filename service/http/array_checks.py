"""Arrays that callers send, held against the card: the wanted shape in words, and the array in the graph's type."""

import numpy as np

from service.card import Card, ImageInput, Operation
from service.errors import InvalidArray
from service.types import Array


def describe_expected(card: Card, operation: Operation) -> str:
    """What an array must be, in words."""
    sides = "".join(f",{side or 'any'}" for side in expected_shape(card, operation))
    if operation == "decode":
        return f"codes are float32 N{sides}"
    if isinstance(card.input, ImageInput):
        return f"pictures are uint8, or float 0..1, N{sides}"
    return f"vectors are float32 N{sides}"


def expected_shape(card: Card, operation: Operation) -> list[int | None]:
    """Of one item; None: any."""
    if operation == "decode":
        return card.code.shape
    if isinstance(card.input, ImageInput):
        return [card.input.height, card.input.width, card.input.channels]
    return [card.input.features]


def validate_array(array: Array, card: Card, operation: Operation) -> Array:
    """The array in the type that the graph takes. Raises InvalidArray naming what was wanted."""
    sides = expected_shape(card, operation)
    fits = array.ndim == len(sides) + 1 and all(
        side in (None, found) for side, found in zip(sides, array.shape[1:], strict=True)
    )
    if not fits:
        raise InvalidArray(
            f"{describe_expected(card, operation)}; this is {array.dtype} {','.join(map(str, array.shape))}"
        )
    if operation == "decode" or not isinstance(card.input, ImageInput):
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise InvalidArray("the numbers must be finite in float32")
        return array
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not ((array >= 0) & (array <= 1)).all():
        raise InvalidArray(describe_expected(card, operation))
    return np.rint(array * 255).astype(np.uint8)

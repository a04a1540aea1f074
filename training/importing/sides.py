"""Which sides of images a model takes: fixed ones, or multiples of a number from a minimum on. Found out by trying."""

from dataclasses import dataclass

import numpy as np

from training.errors import ImportRejected
from training.importing.original import Array, Original
from training.importing.reading import Layout

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)
TRIED_SIDE = 40
"""Sides that are tried are at least this many pixels, and odd multiples of the number that is tried."""
MAX_MINIMUM = 512


@dataclass(frozen=True, slots=True)
class Sides:
    """Sides in pixels: both fixed, or both None. Free sides are padded to a multiple, and to a minimum."""

    height: int | None
    width: int | None
    multiple: int = 1
    minimum: int = 1

    def __str__(self) -> str:
        if self.height is not None:
            return f"{self.height}x{self.width}"
        padded = f", padded to multiples of {self.multiple}" if self.multiple > 1 else ""
        return f"any{padded}" + (f", at least {self.minimum}" if self.minimum > self.multiple else "")

    @property
    def fixed(self) -> tuple[int, int] | None:
        """The height and width, or None if they are free."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def padded(self, side: int) -> int:
        """Return the side of the padded image for a free side of an image."""
        return max(self.minimum, -(-side // self.multiple) * self.multiple)

    def tried(self, at_least: int) -> int:
        """Return a side that the model takes, of at least so many pixels."""
        return self.padded(at_least)


def axes(layout: Layout) -> tuple[int, int, int]:
    """Return the axes of channels, height and width of a layout."""
    return (1, 2, 3) if layout == "nchw" else (3, 1, 2)


def noise_values(layout: Layout, count: int, size: tuple[int, int], channels: int) -> Array:
    """Return noise float32 in 0..1 in a layout: (count, channels, *size) or (count, *size, channels)."""
    shape = (count, channels, *size) if layout == "nchw" else (count, *size, channels)
    return np.random.default_rng(0).random(shape, np.float32)


def declared_sides(original: Original, layout: Layout) -> tuple[int | None, int | None]:
    """Return the height and width that the input of a model declares; None is free."""
    _, height, width = axes(layout)
    shape = original.input.shape
    return shape[height], shape[width]


def find_sides(original: Original, layout: Layout, channels: int, *, same_size: bool) -> Sides:
    """Find the sides that a model takes. `same_size`: whether the output must have the sides of the input.

    Raises ImportRejected if it takes none, or returns images of another size.
    """
    height, width = declared_sides(original, layout)
    if (height is None) != (width is None):
        raise ImportRejected(
            f"the input {original.input} has one fixed and one free side: which size is served? Say --size HEIGHTxWIDTH"
        )
    if height is not None and width is not None:
        return fixed_sides(original, layout, channels, (height, width), same_size=same_size)
    for multiple in MULTIPLES:
        first = multiple * (TRIED_SIDE // multiple + 1 | 1)
        sizes = [(first, first + 2 * multiple), (first + 4 * multiple, first)]
        if all(_takes(original, layout, channels, size, same_size=same_size) for size in sizes):
            return Sides(None, None, multiple, _minimum(original, layout, channels, multiple, same_size=same_size))
    raise ImportRejected(_no_side(original, layout, channels))


def fixed_sides(original: Original, layout: Layout, channels: int, size: tuple[int, int], *, same_size: bool) -> Sides:
    """Return fixed sides after one run. Raises ImportRejected if the model does not take them."""
    values = noise_values(layout, 1, size, channels)
    try:
        output = original.run(values)
    except Exception as error:  # onnxruntime has no common class
        raise ImportRejected(
            f"the input {original.input} does not take {size[0]}x{size[1]}, although the model declares its shape so "
            "or "
            f"--size says so: {_reason(error)}; export it again with its true shape, or say another --size"
        ) from error
    if same_size and not same_sides(values, output, layout):
        raise ImportRejected(_other_size(original, values, output))
    return Sides(*size)


def same_sides(values: Array, output: Array, layout: Layout) -> bool:
    """Whether an output has the height, width and channels of its input."""
    return values.shape == output.shape and bool(np.isfinite(output).all()) and layout in ("nchw", "nhwc")


def _takes(original: Original, layout: Layout, channels: int, size: tuple[int, int], *, same_size: bool) -> bool:
    values = noise_values(layout, 1, size, channels)
    output = original.fits(values)
    return output is not None and (not same_size or same_sides(values, output, layout))


def _minimum(original: Original, layout: Layout, channels: int, multiple: int, *, same_size: bool) -> int:
    """Return the smallest side of the form multiple * 2**k that the model takes."""
    side = multiple
    while side < MAX_MINIMUM and not _takes(original, layout, channels, (side, side), same_size=same_size):
        side *= 2
    return side


def _no_side(original: Original, layout: Layout, channels: int) -> str:
    size = (256, 256)
    values = noise_values(layout, 1, size, channels)
    try:
        return _other_size(original, values, original.run(values))
    except Exception as error:
        return (
            f"no size that was tried, of multiples of {MULTIPLES[0]} to {MULTIPLES[-1]} pixels, runs as "
            f"{layout.upper()} with {channels} channels: {_reason(error)}; say --layout and --size HEIGHTxWIDTH"
        )


def _other_size(original: Original, values: Array, output: Array) -> str:
    if not np.isfinite(output).all():
        return f"the output {original.output} is not finite for values in 0..1: the weights or the export are broken"
    return (
        f"the output {original.output} has the shape {list(output.shape)} for an input of {list(values.shape)}: "
        "denoise and reconstruct answer with an image of the same size and channels; crop, resize or choose the "
        "channels "
        "in the net, or import it as encode"
    )


def _reason(error: Exception) -> str:
    return str(error).split(" : ")[-1].strip().splitlines()[0][:300]

"""Measures how far a model looks and how it moves along with its input, so that large images can be cut into tiles.

The receptive radius is measured by perturbation: half of a narrow strip of noise is replaced, and every output pixel
that changes on the other side of the cut depends on a pixel across it. The stride is the shift of the input that shifts
the output by as much. Global operations (pooling over the image, attention, instance normalization) reach every pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.importing.original import Array, Original
from training.importing.reading import Reading
from training.importing.sides import Sides, axes
from training.importing.source import operators

STRIPS = (256, 1024, 4096)
"""Lengths in pixels of the strips, tried one after another until the ends do not change."""
MAX_PIXELS = 1 << 19
"""Largest number of pixels of one run."""
CUTS, DRAWS = 8, 2
"""Places of the cut, one pixel after another, and random strips for each."""
SHIFT_TOLERANCE = {"float16": 1e-2}
FLOAT32_TOLERANCE = 2e-4
"""Largest difference of a shifted output, relative to the span of the output."""
GLOBAL_OPERATORS = {
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "GroupNormalization",
    "ReduceMean",
    "Softmax",
    "Attention",
    "MultiHeadAttention",
    "LSTM",
    "GRU",
    "Gemm",
}
"""Operators that often look at the whole image, to name a suspect."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The receptive radius and the stride in pixels, both None if the image cannot be cut; and the evidence."""

    radius: int | None
    stride: int | None
    evidence: str


def measure_extent(original: Original, reading: Reading, sides: Sides) -> Extent:
    """Measure the receptive radius and the stride of a model for images of any size."""
    radius = _radius(original, reading, sides)
    if radius is None:
        suspects = sorted(GLOBAL_OPERATORS & set(operators(original.source.model)))
        named = f"; suspected: {', '.join(suspects)}" if suspects else ""
        return Extent(None, None, f"a change reaches the whole image, so that it cannot be tiled{named}")
    stride = _stride(original, reading, sides, radius)
    if stride is None:
        return Extent(None, None, "a shifted input does not shift the output, so that it cannot be tiled")
    if not _tiles_agree(original, reading, sides, radius, stride):
        return Extent(None, None, "tiles do not give the pixels of the whole image, so that it cannot be tiled")
    return Extent(
        radius, stride, f"changing half an image reaches {radius} pixels across; shifts by {stride} shift the output"
    )


def _radius(original: Original, reading: Reading, sides: Sides) -> int | None:
    """Return the largest reach of a change along both axes, or None if it reaches the end of the longest strip."""
    reaches: list[int] = []
    for axis in (2, 1):  # of images (N, H, W, C)
        for length in STRIPS:
            side = sides.tried(length)
            if side * sides.tried(1) > MAX_PIXELS:
                return None
            reach = _reach(original, reading, sides, side, axis)
            if reach < side // 2 - CUTS - sides.multiple:
                reaches.append(reach)
                break
        else:
            return None
    return max(reaches)


def _reach(original: Original, reading: Reading, sides: Sides, length: int, axis: int) -> int:
    """Return how many pixels across a cut a change is seen, at most the distance to the end of the strip."""
    random = np.random.default_rng(1)
    short = sides.tried(max(1, min(4 * sides.multiple, 64)))
    size = (length, short) if axis == 1 else (short, length)
    reach = 0
    for _ in range(DRAWS):
        first, second = (random.integers(0, 256, (1, *size, reading.channels), np.uint8) for _ in range(2))
        before, after = (_lines(original, reading, images, axis) for images in (first, second))
        for cut in _cuts(length, sides):
            images = np.concatenate([_part(first, axis, 0, cut), _part(second, axis, cut, length)], axis)
            mixed = _lines(original, reading, images, axis)
            left = np.flatnonzero((mixed[:cut] != before[:cut]).any(1))
            right = np.flatnonzero((mixed[cut:] != after[cut:]).any(1))
            reach = max(reach, cut - int(left[0]) if left.size else 0, int(right[-1]) + 1 if right.size else 0)
            if reach >= length // 2 - CUTS - sides.multiple:
                return reach
    return reach


def _lines(original: Original, reading: Reading, images: Array, axis: int) -> Array:
    """Run images (1, H, W, C) and return the values of the output with one row per line along an axis of the images."""
    values = original.run(reading.to_model(images))
    return np.moveaxis(values, axes(reading.layout)[axis], 0).reshape(images.shape[axis], -1)


def _cuts(length: int, sides: Sides) -> Iterator[int]:
    """Yield places of the cut around the middle, in all positions relative to the multiple, but at most CUTS."""
    middle = length // 2 // sides.multiple * sides.multiple
    step = max(1, sides.multiple // CUTS)
    yield from range(middle, middle + max(CUTS, sides.multiple), step)


def _part(images: Array, axis: int, start: int, stop: int) -> Array:
    return np.take(images, range(start, stop), axis)


def _stride(original: Original, reading: Reading, sides: Sides, radius: int) -> int | None:
    """Return the smallest shift, a power of two times the multiple, that shifts the output by as much."""
    tolerance = SHIFT_TOLERANCE.get(original.input.dtype, FLOAT32_TOLERANCE)
    for exponent in range(8):
        stride = sides.multiple << exponent
        if all(_shifts(original, reading, sides, radius, stride, axis) <= tolerance for axis in (1, 2)):
            return stride
    return None


def _shifts(original: Original, reading: Reading, sides: Sides, radius: int, stride: int, axis: int) -> float:
    """Return the difference between the shifted output and the output of the shifted input, far from the ends."""
    length = sides.tried(2 * radius + 4 * stride + 32)
    short = sides.tried(max(1, min(4 * sides.multiple, 64)))
    size = (length + stride, short) if axis == 1 else (short, length + stride)
    images = np.random.default_rng(2).integers(0, 256, (1, *size, reading.channels), np.uint8)
    whole = original.run(reading.to_model(_part(images, axis, 0, length)))
    shifted = original.run(reading.to_model(_part(images, axis, stride, length + stride)))
    line = axes(reading.layout)[axis]
    overlap = np.take(whole, range(stride + radius, length - radius), line)
    again = np.take(shifted, range(radius, length - radius - stride), line)
    return float(np.abs(overlap - again).max() / max(float(np.ptp(whole)), 1e-12))


def _tiles_agree(original: Original, reading: Reading, sides: Sides, radius: int, stride: int) -> bool:
    """Whether two overlapping tiles give the same pixels as the whole, on a strip whose length is no multiple."""
    tolerance = SHIFT_TOLERANCE.get(original.input.dtype, FLOAT32_TOLERANCE)
    margin = -(-radius // stride) * stride
    length = sides.tried(2 * margin + 8 * stride + 3 * sides.multiple)
    short = sides.tried(max(1, min(4 * sides.multiple, 64)))
    images = np.random.default_rng(3).integers(0, 256, (1, short, length, reading.channels), np.uint8)
    line = axes(reading.layout)[2]
    whole = original.run(reading.to_model(images))
    start = 4 * stride
    tile = original.run(reading.to_model(_part(images, 2, start, length)))
    inside = np.take(whole, range(start + margin, length), line)
    difference = np.abs(inside - np.take(tile, range(margin, length - start), line)).max()
    return bool(difference <= tolerance * max(float(np.ptp(whole)), 1e-12))

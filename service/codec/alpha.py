"""Handles transparency: composites an image on a background, or fills its fully transparent pixels.

They are filled from the visible ones, so that what they hide has no influence. Each pixel near a visible one gets the
pixel on the other side of the edge, at the same distance: a mirror image along the row or the column. So a model sees
the same texture and noise across the edge; a smooth filling would have no noise.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Offsets = NDArray[np.intp]

MAX_RADIUS = 253  # distances are uint8, and one more than the next is added to
BLOCK_PIXELS = 1 << 18  # pixels filled at once, which bounds the memory
PASSES = 2  # the first does not reach pixels that have a visible one neither in their row nor in their column


def fill_transparent(pixels: Pixels, alpha: Pixels, radius: int) -> Pixels:
    """Return uint8 H,W,C in which the pixels with alpha 0 depend on the other ones only.

    Up to `radius` pixels from a visible pixel they are mirrored, and beyond they have the mean colour of the visible
    pixels. `alpha` is uint8 H,W. Return the same array if no pixel is fully transparent.
    """
    known = alpha > 0
    if known.all():
        return pixels
    if not known.any():
        return np.zeros_like(pixels)
    filled = _with_mean_colour(pixels, known)
    for _ in range(PASSES):
        known = _mirror(filled, known, min(radius, MAX_RADIUS))
        if known.all():
            break
    return filled


def _with_mean_colour(pixels: Pixels, known: Mask) -> Pixels:
    """Return a copy in which unknown pixels have the mean colour of the known ones."""
    height, width, channels = pixels.shape
    known_samples = np.repeat(known, channels, axis=1)
    filled = pixels.reshape(height, width * channels) * known_samples
    sums = filled.sum(axis=0, dtype=np.uint32).reshape(width, channels).sum(axis=0, dtype=np.float64)
    mean = np.rint(sums / np.count_nonzero(known)).astype(np.uint8)
    np.add(filled, np.tile(mean, width), out=filled, where=~known_samples)
    return filled.reshape(pixels.shape)


@dataclass(slots=True)
class _Distances:
    """The distances (uint8 H,W) to the nearest known pixel in each direction; one more than the radius if farther."""

    above: NDArray[np.uint8]
    below: NDArray[np.uint8]
    left: NDArray[np.uint8]
    right: NDArray[np.uint8]


def _mirror(filled: Pixels, known: Mask, radius: int) -> Mask:
    """Fill unknown pixels that have a known one within `radius` in their row or column. Return what is known now."""
    turned = np.ascontiguousarray(known.T)
    distances = _Distances(
        above=_distances_above(known, radius),
        below=_distances_above(known[::-1], radius)[::-1],
        left=np.ascontiguousarray(_distances_above(turned, radius).T),
        right=np.ascontiguousarray(_distances_above(turned[::-1], radius)[::-1].T),
    )
    height, width = known.shape
    reached = known.copy()
    block_rows = max(1, BLOCK_PIXELS // width)
    samples = filled.reshape(height * width, filled.shape[2])
    for start in range(0, height, block_rows):
        rows = slice(start, start + block_rows)
        nearest = np.minimum(distances.above[rows], distances.below[rows])
        np.minimum(nearest, distances.left[rows], out=nearest)
        np.minimum(nearest, distances.right[rows], out=nearest)
        targets = np.flatnonzero((nearest > 0) & (nearest <= radius))
        if targets.size:
            steps = _steps(distances, rows, targets, nearest.ravel()[targets])
            targets += start * width
            samples[targets] = samples[_sources(known, targets, steps)]
            reached.ravel()[targets] = True
    return reached


def _steps(distances: _Distances, rows: slice, targets: Offsets, distance: NDArray[np.uint8]) -> Offsets:
    """Return the offsets (in a flat image) from the targets to their nearest known pixel."""
    width = distances.above.shape[1]
    unit = np.ones(targets.size, np.intp)
    unit[distances.left[rows].ravel()[targets] == distance] = -1
    unit[distances.below[rows].ravel()[targets] == distance] = width
    unit[distances.above[rows].ravel()[targets] == distance] = -width
    return unit * distance


def _sources(known: Mask, targets: Offsets, steps: Offsets) -> Offsets:
    """Return the known pixel that each target gets: that beyond the edge, or the one at the edge if that is unknown."""
    height, width = known.shape
    edges = targets + steps
    sources = edges + steps
    is_vertical = np.abs(steps) >= width
    is_inside = (sources >= 0) & (sources < height * width) & (is_vertical | (sources // width == targets // width))
    sources[~is_inside] = 0
    return np.where(is_inside & known.ravel()[sources], sources, edges)


def _distances_above(known: Mask, radius: int) -> NDArray[np.uint8]:
    """Return the distance to the nearest known pixel above, in each column; `radius` + 1 if it is farther."""
    distances = np.empty(known.shape, np.uint8)
    current = np.full(known.shape[1], radius + 1, np.uint8)
    unknown = ~known
    farthest = np.uint8(radius + 1)
    for row in range(known.shape[0]):
        current += 1
        np.minimum(current, farthest, out=current)
        current *= unknown[row]
        distances[row] = current
    return distances


def composite(pixels: Pixels, alpha: Pixels, background: Literal["black", "white"]) -> Pixels:
    """Composite uint8 H,W,C on a background by uint8 H,W alpha. Round to the nearest integer."""
    weighted = pixels.astype(np.uint16) * alpha[:, :, np.newaxis]
    if background == "white":
        weighted += 255 * (255 - alpha[:, :, np.newaxis].astype(np.uint16))
    return ((weighted + 127) // 255).astype(np.uint8)

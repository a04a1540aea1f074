"""Fills the fully transparent pixels of an image from the visible ones, so that what they hide has no influence.

Each pixel near a visible one gets the pixel on the other side of the edge, at the same distance: a mirror image along
the row or the column. So a model sees the same texture and noise across the edge; a smooth filling would have no noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MAX_RADIUS = 254  # distances are uint8
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
    filled = pixels.copy()
    if not known.any():
        filled[:] = 0
        return filled
    for channel in range(pixels.shape[2]):  # one channel at a time, which bounds the memory
        filled[:, :, channel][~known] = round(float(pixels[:, :, channel].mean(where=known)))
    for _ in range(PASSES):
        known = _mirror(filled, known, min(radius, MAX_RADIUS))
    return filled


@dataclass(slots=True)
class _Direction:
    """A direction in which a known pixel is looked for: its steps, and the distance to that pixel as uint8 H,W."""

    row_step: int
    column_step: int
    distances: NDArray[np.uint8]


def _mirror(filled: Pixels, known: Mask, radius: int) -> Mask:
    """Fill unknown pixels that have a known one within `radius` in their row or column. Return what is known now."""
    directions = (
        _Direction(-1, 0, _distances(known, radius)),
        _Direction(1, 0, _distances(known[::-1], radius)[::-1]),
        _Direction(0, -1, _distances(known.T, radius).T),
        _Direction(0, 1, _distances(known.T[::-1], radius)[::-1].T),
    )
    height, width = known.shape
    reached = known.copy()
    block_rows = max(1, BLOCK_PIXELS // width)
    for start in range(0, height, block_rows):
        rows = slice(start, start + block_rows)
        distances = np.stack([direction.distances[rows] for direction in directions])
        nearest = distances.argmin(axis=0)
        distance = np.take_along_axis(distances, nearest[np.newaxis], axis=0)[0]
        targets = np.nonzero(~known[rows] & (distance <= radius))
        steps = np.array([(direction.row_step, direction.column_step) for direction in directions])[nearest[targets]]
        offsets = steps * distance[targets][:, np.newaxis].astype(np.intp)
        places = np.stack([targets[0] + start, targets[1]], axis=1)
        mirrored = np.clip(places + 2 * offsets, 0, (height - 1, width - 1))
        usable = known[mirrored[:, 0], mirrored[:, 1]]
        mirrored[~usable] = (places + offsets)[~usable]
        filled[places[:, 0], places[:, 1]] = filled[mirrored[:, 0], mirrored[:, 1]]
        reached[places[:, 0], places[:, 1]] = True
    return reached


def _distances(known: Mask, radius: int) -> NDArray[np.uint8]:
    """Return the distance to the nearest known pixel above, in each column; `radius` + 1 if it is farther."""
    distances = np.empty(known.shape, np.uint8)
    current = np.full(known.shape[1], radius + 1, np.uint8)
    for row in range(known.shape[0]):
        current += current <= radius
        current[known[row]] = 0
        distances[row] = current
    return distances

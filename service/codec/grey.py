"""Detects images whose pixels are all grey although they have three channels."""

import numpy as np

from service.types import Array

BLOCK_ROWS = 64  # rows compared at once, so that the first colour in a large image ends the search


def is_grey(pixels: Array, alpha: Array | None = None, *, tolerance: int = 0) -> bool:
    """Return whether red, green and blue differ by at most `tolerance` in each pixel of uint8 H,W,C.

    Fully transparent pixels are ignored. `alpha` is uint8 H,W.
    """
    height, width, channels = pixels.shape
    if channels == 1:
        return True
    if alpha is None:
        red, green, blue = pixels[height // 2, width // 2].tolist()
        if abs(red - green) > tolerance or abs(green - blue) > tolerance:
            return False
    for start in range(0, height, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        block = pixels[rows]
        if tolerance:
            equal = block.max(2) - block.min(2) <= tolerance
        else:
            equal = (block[:, :, 0] == block[:, :, 1]) & (block[:, :, 1] == block[:, :, 2])
        if alpha is not None:
            equal |= alpha[rows] == 0
        if not np.all(equal):
            return False
    return True

"""Fit to size: the one rule outside the graphs. A picture becomes what the model takes; training uses it too.

Colour becomes grey by luma (ITU-R 601), grey becomes colour by repetition; then Lanczos, its kernel widened to the
scale when shrinking, so that nothing aliases. The aspect ratio is not kept.
"""

import numpy as np
from PIL import Image

from service.codec.picture import Pixels


def fit_to_size(pixels: Pixels, height: int | None, width: int | None, channels: int) -> Pixels:
    """uint8 H,W,C of the wanted sides (None: as they are) and channels (1 or 3); the same array where it fits."""
    found = pixels.shape
    if channels == 1 and found[2] == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, np.newaxis]
    elif channels == 3 and found[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if height is None or width is None or found[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return resized[:, :, np.newaxis] if channels == 1 else resized


def fit_alpha_to_size(alpha: Pixels, height: int | None, width: int | None) -> Pixels:
    """uint8 H,W of the wanted sides, by the same rule."""
    return fit_to_size(alpha[:, :, np.newaxis], height, width, 1)[:, :, 0]

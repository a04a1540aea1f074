"""Converts images to the size and channels of a model; training uses the same functions.

Colour becomes grey by luma (ITU-R 601), and grey becomes colour by repetition. Resampling is Lanczos with Pillow's
antialiasing: the kernel is widened when an image shrinks. The aspect ratio is not kept.
"""

import numpy as np
from PIL import Image

from service.codec.picture import Pixels


def fit_to_size(pixels: Pixels, height: int | None, width: int | None, channels: int) -> Pixels:
    """Resize and convert uint8 H,W,C to `height` and `width` in pixels and `channels` (1 or 3).

    If `height` or `width` is None, the size is kept. Return the same array if nothing has to be changed.
    """
    original_height, original_width, original_channels = pixels.shape
    if channels == 1 and original_channels == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, np.newaxis]
    elif channels == 3 and original_channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if height is None or width is None or (original_height, original_width) == (height, width):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return resized[:, :, np.newaxis] if channels == 1 else resized


def fit_alpha_to_size(alpha: Pixels, height: int | None, width: int | None) -> Pixels:
    """Resize uint8 H,W to `height` and `width` in pixels, in the same way as `fit_to_size`."""
    return fit_to_size(alpha[:, :, np.newaxis], height, width, 1)[:, :, 0]

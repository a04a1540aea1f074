"""Random synthetic images like screenshots and diagrams: flat areas, lines and text.

They are clean training images: a net trained on photographs alone blurs the edges of text.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

from training.imaging.draws import coin, integer

_GLYPHS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;-+()/%&   "
_SCALE = 3
"""Shapes are drawn at this multiple of the size and then reduced, which anti-aliases their edges."""


def graphic(height: int, width: int, generator: Generator) -> Tensor:
    """Draw an image with up to six shapes and up to eight lines of text: float32 3,H,W in 0..1."""
    image = Image.new("RGB", (width * _SCALE, height * _SCALE), _colour(generator, pale=coin(0.5, generator)))
    draw = ImageDraw.Draw(image)
    for _ in range(integer(0, 6, generator)):
        _shape(draw, image.size, generator)
    image = image.resize((width, height), Image.Resampling.BOX)
    draw = ImageDraw.Draw(image)
    size = integer(8, 22, generator)
    font = ImageFont.load_default(size)
    colour = _colour(generator, pale=coin(0.3, generator))
    left, top = integer(-10, width // 2, generator), integer(-4, height // 2, generator)
    for line in range(integer(0, 8, generator)):
        text = "".join(_GLYPHS[integer(0, len(_GLYPHS) - 1, generator)] for _ in range(integer(3, 24, generator)))
        draw.text((left, top + line * size * 1.2), text, fill=colour, font=font)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)


def _shape(draw: ImageDraw.ImageDraw, size: tuple[int, int], generator: Generator) -> None:
    """Draw a rectangle, an ellipse or a line, filled or as an outline; parts may lie outside of the image."""
    width, height = size
    x = sorted(integer(-width // 4, width + width // 4, generator) for _ in range(2))
    y = sorted(integer(-height // 4, height + height // 4, generator) for _ in range(2))
    colour, thickness = _colour(generator, pale=coin(0.4, generator)), integer(1, 3 * _SCALE, generator)
    match integer(0, 4, generator):
        case 0:
            draw.rectangle((x[0], y[0], x[1], y[1]), fill=colour)
        case 1:
            draw.rectangle((x[0], y[0], x[1], y[1]), outline=colour, width=thickness)
        case 2:
            draw.ellipse((x[0], y[0], x[1], y[1]), fill=colour)
        case 3:
            draw.ellipse((x[0], y[0], x[1], y[1]), outline=colour, width=thickness)
        case _:
            draw.line((x[0], y[0], x[1], y[1]), fill=colour, width=thickness)


def _colour(generator: Generator, *, pale: bool) -> tuple[int, int, int]:
    """Return a pale grey if `pale`; otherwise black or a random colour."""
    if pale:
        level = integer(225, 255, generator)
        return level, level, level
    if coin(0.3, generator):
        return 0, 0, 0
    return integer(0, 255, generator), integer(0, 255, generator), integer(0, 255, generator)

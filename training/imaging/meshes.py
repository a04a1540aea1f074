"""Random regular patterns over clean images: meshes, weaves, grids and blinds.

Photographs have few of them, and a net that knows none takes them for noise and removes them.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.imaging.draws import coin, integer

_SCALE = 2
"""Patterns are computed at this multiple of the size and then averaged, which anti-aliases them."""
_PERIOD = (2.5, 14.0)
"""Shortest and longest period in pixels."""


def add_mesh(image: Tensor, generator: Generator) -> Tensor:
    """Lay a mesh of one colour over an image, or over one side of a line: float32 C,H,W in 0..1."""
    channels, height, width = image.shape
    y, x = torch.meshgrid(*(torch.linspace(-0.5, 0.5, _SCALE * side) for side in (height, width)), indexing="ij")
    cover = _pattern(x * width, y * height, generator) * _random((0.3, 1.0), generator)
    if coin(0.6, generator):
        angle, offset = _random((0, 2 * math.pi), generator), _random((-0.3, 0.3), generator)
        cover = cover * (x * math.cos(angle) + y * math.sin(angle) > offset)
    cover = F.avg_pool2d(cover[None, None], _SCALE)[0]
    dark = coin(0.6, generator)
    colour = torch.rand(channels, 1, 1, generator=generator) * (0.25 if dark else 1.0)
    return image * (1 - cover) + colour * cover


def _pattern(x: Tensor, y: Tensor, generator: Generator) -> Tensor:
    """Return the cover (H, W) in 0..1 of a periodic pattern of random kind, angle, period and slight perspective."""
    low, high = _PERIOD
    period = low * (high / low) ** _random((0, 1), generator)
    angle = _random((0, math.pi), generator)
    skew = _random((-0.3, 0.3), generator) / len(x)
    scale = 2 * math.pi / period * (1 + skew * (x + y))
    along = (x * math.cos(angle) + y * math.sin(angle)) * scale + _random((0, 2 * math.pi), generator)
    across = (y * math.cos(angle) - x * math.sin(angle)) * scale * _random((0.6, 1.6), generator)
    wave = (
        along.sin(),
        torch.maximum(along.sin(), across.sin()),
        torch.minimum(along.sin(), across.sin()),
        along.sin() * across.sin(),
        (along.sin() + across.sin()) / 2,
    )[integer(0, 4, generator)]
    return torch.sigmoid((wave - _random((-0.5, 0.5), generator)) * _random((2, 12), generator))


def _random(span: tuple[float, float], generator: Generator) -> float:
    """Draw one number uniformly from `span`."""
    low, high = span
    return low + (high - low) * float(torch.rand(1, generator=generator))

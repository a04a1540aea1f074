"""Defects of scanned prints and negatives: halftone screens, dust and hairs, and the texture of paper."""

import math
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.draws import chance, log_uniform, normal, uniform
from training.imaging.smoothing import blur, unit_deviation
from training.schema import Range

_SCREEN_ANGLES = (15.0, 75.0, 0.0)
"""Angles in degrees of the screens of cyan, magenta and yellow in offset printing (ISO 12647-1; black: 45)."""

_EDGE = 1.0
"""Steepness of a dot's edge over one pixel."""


class Halftone(PictureNoise):
    """The halftone screen of a printed image: three screens for a colour image, one at 45 degrees for a grey one.

    The dots are clustered (Ulichney, "Digital halftoning", 1987): the area of a dot grows with the amount of ink. A
    blur models the lens of the scanner. The local mean of the dots equals the image.
    """

    kind: Literal["halftone"] = "halftone"
    period: Range = (2.2, 4.5)
    """Distance between the dots in pixels. Drawn log-uniformly."""
    softness: Range = (0.36, 0.55)
    """Standard deviation of the scanner blur, as a share of the period. Sharper dots resemble meshes and fabrics, and
    nets that remove such dots also remove meshes and fabrics."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add the difference between the blurred screen and the blurred picture."""
        count, _, height, width = clean.shape
        period = log_uniform(self.period, count, generator)
        angles = torch.tensor(_SCREEN_ANGLES).deg2rad().view(1, 3, 1, 1)
        grey = (clean == clean[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
        angles = torch.where(grey, math.pi / 4, angles) + uniform((0.0, math.pi), count, generator)
        rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
        phases = torch.rand(count, 3, 2, 1, generator=generator) * 2 * math.pi
        phases = torch.where(grey, phases[:, :1], phases)
        along = (columns * angles.cos() + rows * angles.sin()) * (2 * math.pi / period) + phases[:, :, :1]
        across = (rows * angles.cos() - columns * angles.sin()) * (2 * math.pi / period) + phases[:, :, 1:]
        spot = (along.cos() + across.cos()) / 2
        level = _SCREEN_LEVELS[(clean * 256).round().long()]
        screen = torch.sigmoid((spot - level) * _EDGE * period)  # soft edges avoid aliasing
        sigma = period * uniform(self.softness, count, generator)
        difference = blur(screen - clean, sigma)
        local_mean = blur(difference, period * 0.8)  # keeps the tones of the image
        return clean + (difference - local_mean)


def _levels_of_screen() -> Tensor:
    """Return the 257 values of (cos a + cos b) / 2 that 0, 1/256, ..., 1 of the area exceeds."""
    angles = torch.arange(256) * (2 * math.pi / 256)
    heights = ((angles.cos().view(-1, 1) + angles.cos()) / 2).flatten().sort(descending=True).values
    return heights[torch.linspace(0, len(heights) - 1, 257).round().long()]


_SCREEN_LEVELS = _levels_of_screen()


class Dust(PictureNoise):
    """Specks, hairs and scratches on a scanned negative (bright) or print (dark), with faint scanner noise.

    The shapes follow no publication; they were chosen by eye.
    """

    kind: Literal["dust"] = "dust"
    specks: PositiveInt = 10
    """Largest number of specks per 96x96 pixels."""
    radius: Range = (0.4, 2.2)
    """Radius of a speck in pixels. Drawn log-uniformly."""
    hairs: PositiveInt = 2
    """Largest number of hairs or scratches per image."""
    noise: Range = (0.0, 0.02)
    """Standard deviation of the scanner's own noise."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Blend the image with a bright or dark level at the dust, and add the scanner noise."""
        count = len(clean)
        cover = torch.maximum(self._specks(clean, generator), self._hairs(clean, generator))
        bright, dark = uniform((0.75, 1.0), count, generator), uniform((0.0, 0.3), count, generator)
        ink = torch.where(chance(0.6, count, generator), bright, dark)
        opacity = uniform((0.4, 1.0), count, generator)
        sigma = uniform(self.noise, count, generator)
        return torch.lerp(clean, ink.expand_as(clean), cover * opacity) + sigma * normal(clean, generator)

    def _specks(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the coverage by ellipses with soft edges: N,1,H,W in 0..1."""
        count, _, height, width = clean.shape
        most = max(1, round(self.specks * height * width / 96**2))
        rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
        cover = torch.zeros(count, 1, height, width)
        present = torch.rand(count, 1, 1, 1, generator=generator)
        for _ in range(most):
            top = uniform((0.0, float(height)), count, generator)
            left = uniform((0.0, float(width)), count, generator)
            radius = log_uniform(self.radius, count, generator)
            stretch, angle = uniform((1.0, 2.2), count, generator), uniform((0.0, math.pi), count, generator)
            x, y = columns - left, rows - top
            along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
            distance = ((along / stretch).square() + across.square()).sqrt()
            there = torch.rand(count, 1, 1, 1, generator=generator) < present
            cover = torch.maximum(cover, torch.sigmoid((radius - distance) * 3) * there)
        return cover

    def _hairs(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the coverage by thin curves: N,1,H,W in 0..1."""
        count, _, height, width = clean.shape
        rows, columns = torch.arange(height).view(-1, 1) / height - 0.5, torch.arange(width).view(1, -1) / width - 0.5
        cover = torch.zeros(count, 1, height, width)
        for _ in range(self.hairs):
            angle = uniform((0.0, 2 * math.pi), count, generator)
            middle = uniform((-0.5, 0.5), count, generator)
            bend = uniform((0.0, 2.5), count, generator) * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
            bend = bend * chance(0.6, count, generator)  # scratches are straight
            start = uniform((-0.7, 0.5), count, generator)
            length = uniform((0.1, 1.2), count, generator)
            along, across = columns * angle.cos() + rows * angle.sin(), rows * angle.cos() - columns * angle.sin()
            slope = (1 + (2 * bend * along).square()).sqrt()
            distance = (across - middle - bend * along.square()).abs() / slope * height
            thickness = uniform((0.2, 0.9), count, generator)
            inside = torch.sigmoid((along - start) * height) * torch.sigmoid((start + length - along) * height)
            there = chance(0.4, count, generator)
            cover = torch.maximum(cover, torch.sigmoid((thickness - distance) * 3) * inside * there)
        return cover


class Paper(PictureNoise):
    """The texture of paper in a scan, stronger in bright areas.

    The texture follows no publication; it was chosen by eye.
    """

    kind: Literal["paper"] = "paper"
    strength: Range = (0.006, 0.025)
    """Standard deviation on white paper, on the scale 0..1. Drawn log-uniformly."""
    size: Range = (0.4, 1.2)
    """Size of the texture across its fibres: standard deviation in pixels of a Gaussian blur."""
    noise: Range = (0.0, 0.02)
    """Standard deviation of the scanner's own noise."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add the texture in proportion to the brightness, and the scanner noise."""
        count = len(clean)
        size = uniform(self.size, count, generator)
        stretch = uniform((1.0, 2.5), count, generator)
        upright = chance(0.5, count, generator)
        sigma = torch.cat([size * torch.where(upright, stretch, 1.0), size * torch.where(upright, 1.0, stretch)], 3)
        texture = blur(normal(clean, generator, 1), sigma)
        texture = unit_deviation(texture - blur(texture, 2.5 * size))
        tint = uniform((0.85, 1.15), 3 * count, generator).view(count, 3, 1, 1)
        shade = torch.lerp(clean, torch.ones_like(clean), uniform((0.0, 0.5), count, generator))
        scanner = normal(clean, generator) * uniform(self.noise, count, generator)
        return clean + shade * texture * tint * log_uniform(self.strength, count, generator) + scanner

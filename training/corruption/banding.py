"""Row and column noise of sensors, and the bands of flickering light."""

import math
from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.colour import linear_to_srgb, srgb_to_linear
from training.imaging.draws import chance, log_uniform, normal, uniform
from training.imaging.smoothing import blur, unit_deviation
from training.schema import Range

_SLOPE_AT_MID_GREY = 1.7
"""Derivative of the sRGB value with respect to linear light, at the sRGB value 0.5."""


class Banding(PictureNoise):
    """Offsets that are constant along rows or columns, added in linear light and thus strongest in dark areas.

    The readout of CMOS sensors causes row noise (Wei et al., "A physics-based noise formation model for extreme
    low-light raw denoising", CVPR 2020). Half of the images have bands wider than a pixel, a fifth have periodic bands,
    and white noise is added to all of them.
    """

    kind: Literal["banding"] = "banding"
    strength: Range = (0.003, 0.04)
    """Standard deviation of the lines at middle grey, on the sRGB scale 0..1. Drawn log-uniformly."""
    width: Range = (0.0, 2.5)
    """Standard deviation in pixels of the Gaussian blur across the lines."""
    white: Range = (0.0, 1.0)
    """Standard deviation of the white noise, as a multiple of that of the lines."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add lines and white noise in linear light."""
        count, _, height, width = clean.shape
        along_rows = self._lines(count, height, generator).unsqueeze(3)
        along_columns = self._lines(count, width, generator).unsqueeze(2)
        lines = torch.where(chance(0.5, count, generator), along_rows, along_columns)
        white = normal(clean, generator) * uniform(self.white, count, generator)
        strength = log_uniform(self.strength, count, generator) / _SLOPE_AT_MID_GREY
        linear = srgb_to_linear(clean)
        return clean + linear_to_srgb(linear + strength * (lines + white)) - linear_to_srgb(linear)

    def _lines(self, count: int, length: int, generator: Generator) -> Tensor:
        """Return offsets of unit variance along one axis, partly shared by the channels: N,3,length."""
        shared = torch.randn(count, 1, length, 1, generator=generator)
        own = torch.randn(count, 3, length, 1, generator=generator)
        offsets = torch.lerp(shared.expand_as(own), own, uniform((0.0, 0.6), count, generator))
        offsets = blur(offsets, uniform(self.width, count, generator) * chance(0.5, count, generator))
        period = log_uniform((2.0, 24.0), count, generator)
        phase = uniform((0.0, 2 * math.pi), count, generator)
        wave = torch.sin(torch.arange(length).view(1, 1, -1, 1) * (2 * math.pi) / period + phase)
        offsets = torch.where(chance(0.2, count, generator), wave, offsets)
        return unit_deviation(offsets).squeeze(3)

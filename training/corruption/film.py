"""The grain of photographic film."""

from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.draws import chance, log_uniform, normal, uniform
from training.imaging.smoothing import blur, unit_deviation
from training.schema import Probability, Range


class FilmGrain(PictureNoise):
    """Grain of black-and-white film or of the three dye layers of colour film.

    Newson, Delon and Galerne, "A stochastic film grain model for resolution-independent rendering" (2017), model grain
    as overlapping discs, so that an area of mean u has the variance u (1 - u) before the blur of the lens. Newson et
    al. (SSVM 2017) show that a Gaussian field with the same correlation looks the same. This class band-passes that
    field: it subtracts a share of a wider blur from a blur of the grain size. The standard deviation is proportional to
    a power of u (1 - u), because scanners and prints change the tone curve.
    """

    kind: Literal["film"] = "film"
    strength: Range = (0.01, 0.08)
    """Standard deviation at middle grey, on the scale 0..1. Drawn log-uniformly."""
    size: Range = (0.3, 1.0)
    """Size of the grain: standard deviation in pixels of a Gaussian. Nets that remove coarser grain also remove fur."""
    monochrome: Probability = 0.35
    """Probability of the same grain in all channels. Otherwise the channels share a random part of the grain."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add the grain."""
        count = len(clean)
        size = uniform(self.size, count, generator)
        shared = uniform((0.0, 0.9), count, generator)
        shared = torch.where(chance(self.monochrome, count, generator), 1.0, shared)
        layers = shared.sqrt() * normal(clean, generator, 1) + (1 - shared).sqrt() * normal(clean, generator)
        fine = blur(layers, size)
        coarse = blur(fine, size * uniform((1.5, 3.0), count, generator))
        field = unit_deviation(fine - uniform((0.0, 0.7), count, generator) * coarse)
        power = uniform((0.3, 0.9), count, generator)
        profile = (4 * clean * (1 - clean)).clamp(0, 1).pow(power)
        floor = uniform((0.05, 0.35), count, generator)  # scanner noise where the film is clear or black
        channels = uniform((0.8, 1.25), 3 * count, generator).view(count, 3, 1, 1)
        channels = torch.where(shared == 1, 1.0, channels)
        deviation = log_uniform(self.strength, count, generator) * (floor + (1 - floor) * profile)
        return clean + field * channels * deviation

"""The grain of photographic film."""

from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.draws import chance, log_uniform, normal, uniform
from training.imaging.smoothing import blur, unit_deviation
from training.schema import Probability, Range


class FilmGrain(PictureNoise):
    """Grain of film, of one colour or of three dye layers.

    Newson, Delon and Galerne ("A stochastic film grain model", 2017) model grain as overlapping discs, so that a
    picture of mean u has the variance u (1 - u) before the lens blurs it; Newson et al. (SSVM 2017) show that a
    Gaussian field with the same correlation looks the same. Here that field is band-passed: a blur of a grain's
    size, less a share of a wider one. Its variance is u (1 - u) to a power, since scanners and prints bend the tones.
    """

    kind: Literal["film"] = "film"
    strength: Range = (0.01, 0.08)
    """Standard deviation at middle grey; log-uniform."""
    size: Range = (0.3, 1.0)
    """Radius of the grain in pixels, as the width of a Gaussian. Nets that learn to remove coarser grain remove fur."""
    monochrome: Probability = 0.35
    """Probability of the same grain in all channels; otherwise the layers share a random part of it."""

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
        floor = uniform((0.05, 0.35), count, generator)  # a scanner's own noise where the film is clear or black
        channels = uniform((0.8, 1.25), 3 * count, generator).view(count, 3, 1, 1)
        channels = torch.where(shared == 1, 1.0, channels)
        deviation = log_uniform(self.strength, count, generator) * (floor + (1 - floor) * profile)
        return clean + field * channels * deviation

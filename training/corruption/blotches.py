"""Soft blotches of colour, as night photographs have them after a telephone's noise reduction."""

from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.colour import luma, ycc_to_rgb
from training.imaging.draws import log_uniform, normal, uniform
from training.imaging.smoothing import blur, resize, unit_deviation
from training.schema import Probability, Range


class ChromaBlotches(PictureNoise):
    """Colour noise of low frequency, stronger in the dark, with a finer noise of the luma.

    Demosaicing and noise reduction leave the lowest frequencies of colour noise, and the quantisation of JPEG turns
    them into blotches (CBDNet, Guo et al., CVPR 2019, discusses both as what makes real noise unlike white noise).
    """

    kind: Literal["chroma-blotches"] = "chroma-blotches"
    strength: Range = (0.008, 0.05)
    """Standard deviation of each colour difference in the dark; log-uniform."""
    size: Range = (1.5, 7.0)
    """Of the blotches: width of a Gaussian in pixels; log-uniform."""
    luma_share: Range = (0.0, 0.7)
    """Standard deviation of the luma's noise, relative to the blotches."""
    jpeg: Probability = 0.7
    """Probability of a JPEG at the end."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add the blotches and the luma's noise."""
        count, _, height, width = clean.shape
        size = log_uniform(self.size, count, generator)
        # Drawn at half the size: what is blurred so widely has no detail to lose.
        small = torch.randn(count, 2, height // 2 + 1, width // 2 + 1, generator=generator)
        colour = unit_deviation(resize(blur(small, size / 2), height, width))
        fine = blur(normal(clean, generator, 1), uniform((0.3, 1.2), count, generator))
        fine = unit_deviation(fine) * uniform(self.luma_share, count, generator)
        fade = uniform((0.0, 0.9), count, generator)  # how much less of it bright areas have
        profile = 1 - fade * luma(clean)
        strength = log_uniform(self.strength, count, generator)
        return clean + ycc_to_rgb(torch.cat([fine, colour], 1)) * profile * strength

"""Soft blotches of colour, which the noise reduction of phone cameras leaves in dark photographs."""

from typing import Literal

import torch
from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.colour import luma, ycc_to_rgb
from training.imaging.draws import log_uniform, normal, uniform
from training.imaging.smoothing import blur, resize, unit_deviation
from training.schema import Probability, Range


class ChromaBlotches(PictureNoise):
    """Low-frequency noise of the chroma, stronger in dark areas, with finer noise of the luma.

    Demosaicing and noise reduction leave the low frequencies of colour noise, and JPEG quantization turns them into
    blotches. Guo et al., "Toward convolutional blind denoising of real photographs" (CBDNet, CVPR 2019) name
    demosaicing and JPEG among the reasons why real noise is not white.
    """

    kind: Literal["chroma-blotches"] = "chroma-blotches"
    strength: Range = (0.008, 0.05)
    """Standard deviation of Cb and of Cr in black areas, on the scale 0..1. Drawn log-uniformly."""
    size: Range = (1.5, 7.0)
    """Size of the blotches: standard deviation in pixels of a Gaussian blur. Drawn log-uniformly."""
    luma_share: Range = (0.0, 0.7)
    """Standard deviation of the luma noise, as a multiple of that of the blotches."""
    jpeg: Probability = 0.7
    """Probability that the noisy image is then compressed as JPEG."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add the blotches and the luma noise."""
        count, _, height, width = clean.shape
        size = log_uniform(self.size, count, generator)
        # Drawn at half the size to save time: after so wide a blur there is no finer detail.
        small = torch.randn(count, 2, height // 2 + 1, width // 2 + 1, generator=generator)
        colour = unit_deviation(resize(blur(small, size / 2), height, width))
        fine = blur(normal(clean, generator, 1), uniform((0.3, 1.2), count, generator))
        fine = unit_deviation(fine) * uniform(self.luma_share, count, generator)
        fade = uniform((0.0, 0.9), count, generator)  # relative reduction of the noise in white areas
        profile = 1 - fade * luma(clean)
        strength = log_uniform(self.strength, count, generator)
        return clean + ycc_to_rgb(torch.cat([fine, colour], 1)) * profile * strength

"""JPEG alone: the blocks and rings of a strongly compressed picture that had no noise."""

from typing import Literal

from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import chance
from training.schema import Probability, Range


class Jpeg(PictureNoise):
    """Compression once, and in some pictures twice with the grid of blocks at another place (Zhang et al., SCUNet)."""

    kind: Literal["jpeg"] = "jpeg"
    jpeg: Probability = 1.0
    """Probability of the last compression."""
    quality: Range = (10.0, 90.0)
    """Of each compression, drawn for every picture; libjpeg's scale."""
    twice: Probability = 0.25
    """Probability of a compression before it."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Compress some of the pictures a first time."""
        first = chance(self.twice, len(clean), generator).flatten()
        noisy = clean.clone()
        if first.any():
            noisy[first] = jpeg_round_trip(clean[first], self.quality, generator)
        return noisy

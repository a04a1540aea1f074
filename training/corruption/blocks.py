"""JPEG artefacts without other noise."""

from typing import Literal

from torch import Generator, Tensor

from training.corruption.pictures import PictureNoise
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import chance
from training.schema import Probability, Range


class Jpeg(PictureNoise):
    """Compress images as JPEG, which leaves block edges and ringing.

    Some images are compressed twice with different positions of the 8x8 block grid, as in Zhang et al., "Practical
    blind image denoising via Swin-Conv-UNet and data synthesis" (SCUNet, 2022).
    """

    kind: Literal["jpeg"] = "jpeg"
    jpeg: Probability = 1.0
    """Probability of the last compression."""
    quality: Range = (10.0, 90.0)
    """JPEG quality on the scale of libjpeg, 1 to 100. Drawn uniformly for each image and compression."""
    twice: Probability = 0.25
    """Probability of an additional compression before it."""

    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Compress some of the images for the first time; the base class does the last compression."""
        first = chance(self.twice, len(clean), generator).flatten()
        noisy = clean.clone()
        if first.any():
            noisy[first] = jpeg_round_trip(clean[first], self.quality, generator)
        return noisy

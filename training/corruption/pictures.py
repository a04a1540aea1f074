"""What all kinds of noise of photographs share: grey stays grey, 8 bits, and perhaps JPEG at the end."""

from abc import abstractmethod

import torch
from torch import Generator, Tensor

from training.errors import RecipeError
from training.imaging.colour import luma
from training.imaging.compression import jpeg_round_trip, to_bytes
from training.imaging.draws import chance
from training.schema import Probability, Range, StrictModel


class PictureNoise(StrictModel):
    """Noise of pictures N,C,H,W in 0..1 with one or three channels, in 8 bits as stored pictures are.

    A picture whose channels are equal gets the luma of the noise in all channels, as a grey photograph has.
    """

    jpeg: Probability = 0.5
    """Probability that the noisy picture is then compressed as JPEG."""
    quality: Range = (60.0, 98.0)
    """Of that JPEG, drawn for every picture; libjpeg's scale."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the noisy pictures. Raises RecipeError where the items are no pictures."""
        if clean.ndim != 4 or clean.shape[1] not in (1, 3):
            raise RecipeError("this [corruption] is for pictures in grey or colour, and these items are others")
        if not len(clean):
            return clean
        colour = clean.expand(-1, 3, -1, -1)
        grey = (colour == colour[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
        noisy = self.noisy(colour, generator)
        if grey.any():
            noisy = torch.where(grey, luma(noisy), noisy)
        noisy = to_bytes(noisy).float().div_(255)
        compressed = chance(self.jpeg, len(clean), generator).flatten()
        if compressed.any():
            noisy[compressed] = jpeg_round_trip(noisy[compressed], self.quality, generator)
        return noisy[:, : clean.shape[1]]

    @abstractmethod
    def noisy(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return noisy versions of pictures N,3,H,W; rounding, grey pictures and JPEG are the caller's part."""

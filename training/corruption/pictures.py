"""Base class of the noise of photographs: keeps grey images grey, rounds to 8 bits, and may compress as JPEG."""

from abc import abstractmethod

import torch
from torch import Generator, Tensor

from training.errors import RecipeError
from training.imaging.colour import luma
from training.imaging.compression import jpeg_round_trip, to_bytes
from training.imaging.draws import chance
from training.schema import Probability, Range, RecipeTable


class PictureNoise(RecipeTable):
    """Noise of images N,C,H,W, float32 in 0..1 with one or three channels; the result is rounded to 8 bits.

    An image whose channels are equal gets the luma of the noise in all channels, so that it stays grey. Raises
    RecipeError for items that are not images.
    """

    jpeg: Probability = 0.5
    """Probability that the noisy image is then compressed as JPEG."""
    quality: Range = (60.0, 98.0)
    """JPEG quality on the scale of libjpeg, 1 to 100. Drawn uniformly for each image."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the noisy images in the shape of `clean`. Raises RecipeError if the items are not images."""
        if clean.ndim != 4 or clean.shape[1] not in (1, 3):
            shape = tuple(clean.shape[1:])
            raise RecipeError(
                f"corruption.kind needs pictures with 1 or 3 channels, and the items have the shape {shape}"
            )
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
        """Return noisy versions of images N,3,H,W. `__call__` handles grey images, rounding and JPEG."""

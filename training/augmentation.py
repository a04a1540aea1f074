"""What is done to training pictures before they are corrupted, so that a few show what many would. Knows no noise."""

import torch
from pydantic import PositiveInt
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.schema import Fraction, StrictModel

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, as the service turns colour into grey."""


class Augmentation(StrictModel):
    """The `[augmentation]` table: of pictures, each drawn anew whenever it is shown."""

    crop: PositiveInt | None = None
    """Side of the square that is cut from anywhere in a picture; only for nets that take any size."""
    random_downscale: Fraction = 0.0
    """Share of the squares that are cut larger, up to the whole picture, and reduced: edges are sharper then."""
    flips: bool = False
    """Turn and mirror, into one of the eight ways that a square can lie."""
    grayscale: Fraction = 0.0
    """Share of colour pictures that are made grey."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Float32 N,C,H,W in 0..1 to the same, of the crop's size. Raises RecipeError on what it cannot be done to."""
        if self == Augmentation():
            return clean
        if clean.ndim != 4:
            raise RecipeError("[augmentation] is for pictures, and these are vectors: leave the table out")
        shortest = min(clean.shape[2:])
        if self.crop and self.crop > shortest:
            raise RecipeError(f"augmentation.crop is {self.crop}, but the pictures have {shortest} pixels on a side")
        if self.flips and not self.crop and clean.shape[2] != clean.shape[3]:
            raise RecipeError("augmentation.flips needs squares: set augmentation.crop")
        return torch.stack([self._augment(item, generator) for item in clean])

    def _augment(self, item: Tensor, generator: Generator) -> Tensor:
        """C,H,W."""
        if self.crop:
            item = _random_crop(
                item, self.crop, larger=_bernoulli(self.random_downscale, generator), generator=generator
            )
        if self.flips:
            way = _randint(8, generator)
            item = item.rot90(way % 4, (1, 2))
            item = item.flip(2) if way >= 4 else item
        if len(item) == 3 and _bernoulli(self.grayscale, generator):
            item = to_grayscale(item)
        return item


def to_grayscale(pictures: Tensor) -> Tensor:
    """Colour pictures ...,3,H,W with their luma in all channels."""
    return (pictures * torch.tensor(LUMA).view(3, 1, 1)).sum(-3, keepdim=True).expand_as(pictures)


def _random_crop(item: Tensor, crop: int, *, larger: bool, generator: Generator) -> Tensor:
    """A square from anywhere; a larger one is reduced to the crop's size, without aliasing."""
    height, width = item.shape[1:]
    side = crop + _randint(min(height, width) - crop + 1, generator) if larger else crop
    top, left = _randint(height - side + 1, generator), _randint(width - side + 1, generator)
    square = item[:, top : top + side, left : left + side]
    if side == crop:
        return square
    return F.interpolate(square[None], (crop, crop), mode="bicubic", antialias=True)[0].clamp(0, 1)


def _randint(count: int, generator: Generator) -> int:
    """0 .. count - 1, each as likely."""
    return int(torch.randint(count, (1,), generator=generator))


def _bernoulli(share: float, generator: Generator) -> bool:
    return share > 0 and bool(torch.rand(1, generator=generator) < share)

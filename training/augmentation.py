"""What is done to training pictures before they are corrupted, so that a few show what many would. Knows no noise."""

import torch
from pydantic import PositiveInt
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.imaging.colour import linear_to_srgb, luma, srgb_to_linear
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import coin, integer, uniform
from training.imaging.graphics import graphic
from training.schema import Fraction, Probability, Range, StrictModel

LINEAR_LUMA = (0.2126, 0.7152, 0.0722)
"""ITU-R BT.709, of linear light."""


class Augmentation(StrictModel):
    """The `[augmentation]` table: of pictures, each drawn anew whenever it is shown."""

    crop: PositiveInt | None = None
    """Side of the square that is cut from anywhere in a picture; only for nets that take any size."""
    random_downscale: Fraction = 0.0
    """Share of the squares that are cut larger, up to the whole picture, and reduced: edges are sharper then."""
    flips: bool = False
    """Turn and mirror, into one of the eight ways that a square can lie."""
    saturation: Range = (1.0, 1.0)
    """Factor of the distance from grey in linear light, drawn for every colour picture."""
    gain: Range = (1.0, 1.0)
    """Factor of every channel in linear light, drawn one by one: other exposures and colours of light."""
    graphics: Probability = 0.0
    """Probability of a drawn picture with text instead of the colour picture; needs a crop."""
    jpeg: Probability = 0.0
    """Probability that the colour picture is compressed as JPEG: the slight traces that most pictures carry, which are
    then no noise to remove."""
    jpeg_quality: Range = (90.0, 99.0)
    """Of that JPEG, drawn for every picture; libjpeg's scale."""
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
        if self.graphics and not self.crop:
            raise RecipeError("augmentation.graphics needs augmentation.crop, which is their size")
        if self.flips and not self.crop and clean.shape[2] != clean.shape[3]:
            raise RecipeError("augmentation.flips needs squares: set augmentation.crop")
        pictures = torch.stack([self._augment(item, generator) for item in clean])
        if pictures.shape[1] == 3:
            pictures = self._coloured(pictures, generator)
        return pictures

    def _augment(self, item: Tensor, generator: Generator) -> Tensor:
        """C,H,W."""
        if self.crop:
            item = _random_crop(item, self.crop, larger=coin(self.random_downscale, generator), generator=generator)
        if self.flips:
            way = integer(0, 7, generator)
            item = item.rot90(way % 4, (1, 2))
            item = item.flip(2) if way >= 4 else item
        if self.crop and len(item) == 3 and coin(self.graphics, generator):
            item = graphic(self.crop, self.crop, generator)
        return item

    def _coloured(self, pictures: Tensor, generator: Generator) -> Tensor:
        """N,3,H,W."""
        if (self.saturation, self.gain) != ((1.0, 1.0), (1.0, 1.0)):
            saturation = uniform(self.saturation, len(pictures), generator)
            gain = uniform(self.gain, 3 * len(pictures), generator).view(-1, 3, 1, 1)
            pictures = in_other_colours(pictures, saturation, gain)
        compressed = torch.tensor([coin(self.jpeg, generator) for _ in pictures])
        if compressed.any():
            pictures[compressed] = jpeg_round_trip(pictures[compressed], self.jpeg_quality, generator)
        grey = [coin(self.grayscale, generator) for _ in pictures]
        return torch.stack([to_grayscale(one) if now else one for one, now in zip(pictures, grey, strict=True)])


def to_grayscale(pictures: Tensor) -> Tensor:
    """Replace all channels of images ...,3,H,W by their luma, as the service converts colour to grey."""
    return luma(pictures).expand_as(pictures)


def in_other_colours(pictures: Tensor, saturation: Tensor, gain: Tensor) -> Tensor:
    """Pictures N,3,H,W with their channels times `gain` N,3,1,1 and their colour times `saturation` N,1,1,1.

    Both in linear light, where they are what light and dyes do; the luminance (ITU-R BT.709) stays under `saturation`.
    Pictures that are grey stay grey.
    """
    grey = (pictures == pictures[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    linear = srgb_to_linear(pictures) * torch.where(grey, gain.mean(1, keepdim=True), gain)
    luminance = (linear * torch.tensor(LINEAR_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    changed = linear_to_srgb(luminance + (linear - luminance) * saturation)
    return torch.where(grey, changed[:, :1], changed)


def _random_crop(item: Tensor, crop: int, *, larger: bool, generator: Generator) -> Tensor:
    """A square from anywhere; a larger one is reduced to the crop's size, without aliasing."""
    height, width = item.shape[1:]
    side = crop + integer(0, min(height, width) - crop, generator) if larger else crop
    top, left = integer(0, height - side, generator), integer(0, width - side, generator)
    square = item[:, top : top + side, left : left + side]
    if side == crop:
        return square
    return F.interpolate(square[None], (crop, crop), mode="bicubic", antialias=True)[0].clamp(0, 1)

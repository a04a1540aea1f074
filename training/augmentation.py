"""Augmentation of training images before corruption: crops, flips, colour, drawn graphics and JPEG compression."""

import torch
from pydantic import PositiveInt
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.imaging.colour import linear_to_srgb, luma, srgb_to_linear
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import chance, coin, integer, uniform
from training.imaging.graphics import graphic
from training.imaging.meshes import add_mesh
from training.imaging.smoothing import blur
from training.schema import Fraction, Probability, Range, RecipeTable

LINEAR_LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue in the luminance of linear light (ITU-R BT.709)."""


class Augmentation(RecipeTable):
    """The `[augmentation]` table: random changes of images, drawn again for each image of each batch."""

    crop: PositiveInt | None = None
    """Side in pixels of a square cut at a random position; only for nets with `any_size`."""
    random_downscale: Fraction = 0.0
    """Probability of a larger crop, up to the whole image, that is scaled down to `crop`; its edges are sharper."""
    blur: Probability = 0.0
    """Probability of a slight Gaussian blur: cameras' pictures at full size are softer than pictures of reduced size,
    and a net that never sees soft pictures takes their fine noise for detail."""
    blur_sigma: Range = (0.4, 1.4)
    """Standard deviation in pixels of that blur, drawn for each image."""
    flips: bool = False
    """Rotate and mirror by one of the eight symmetries of a square."""
    saturation: Range = (1.0, 1.0)
    """Factor of the distance from grey in linear light, drawn for each colour image."""
    gain: Range = (1.0, 1.0)
    """Factor of each channel in linear light, drawn per channel: simulates other exposures and colours of light."""
    graphics: Probability = 0.0
    """Probability that a colour image is replaced by drawn shapes and text; needs `crop`."""
    meshes: Probability = 0.0
    """Probability that a regular pattern is laid over an image, so that the net leaves fabrics and screens alone."""
    jpeg: Probability = 0.0
    """Probability that a colour image is compressed as JPEG, so that the net leaves slight JPEG artifacts alone."""
    jpeg_quality: Range = (90.0, 99.0)
    """Quality of that JPEG on libjpeg's scale, drawn for each image."""
    grayscale: Fraction = 0.0
    """Probability that a colour image is converted to grayscale."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Augment a batch of images.

        Args:
            clean: float32 (N, C, H, W) in 0..1, or vectors (N, F) if the table is left out.
            generator: source of all random numbers.

        Returns:
            float32 in 0..1 of the same shape, or (N, C, crop, crop). `clean` itself if the table is left out.

        Raises:
            RecipeError: the items are vectors, or the images are too small or not square.
        """
        if self == Augmentation():
            return clean
        if clean.ndim != 4:
            raise RecipeError("[augmentation] needs images, but the data has vectors: remove the table")
        shortest = min(clean.shape[2:])
        if self.crop and self.crop > shortest:
            raise RecipeError(
                f"augmentation.crop is {self.crop}, but the shorter side of the images has {shortest} pixels: "
                "set a smaller crop"
            )
        if self.graphics and not self.crop:
            raise RecipeError("augmentation.graphics needs a size: set augmentation.crop")
        if self.flips and not self.crop and clean.shape[2] != clean.shape[3]:
            raise RecipeError("augmentation.flips needs square images: set augmentation.crop")
        images = torch.stack([self._augment(item, generator) for item in clean])
        if self.blur:
            sigma = uniform(self.blur_sigma, len(images), generator) * chance(self.blur, len(images), generator)
            images = blur(images, sigma)
        if images.shape[1] == 3:
            images = self._change_colors(images, generator)
        return images

    def _augment(self, item: Tensor, generator: Generator) -> Tensor:
        """Crop, flip or replace one image (C, H, W)."""
        if self.crop:
            item = _random_crop(item, self.crop, larger=coin(self.random_downscale, generator), generator=generator)
        if self.flips:
            symmetry = integer(0, 7, generator)
            item = item.rot90(symmetry % 4, (1, 2))
            item = item.flip(2) if symmetry >= 4 else item
        if self.crop and len(item) == 3 and coin(self.graphics, generator):
            item = graphic(self.crop, self.crop, generator)
        return add_mesh(item, generator) if coin(self.meshes, generator) else item

    def _change_colors(self, images: Tensor, generator: Generator) -> Tensor:
        """Change saturation, gain and compression of colour images (N, 3, H, W), and convert some to grayscale."""
        if (self.saturation, self.gain) != ((1.0, 1.0), (1.0, 1.0)):
            saturation = uniform(self.saturation, len(images), generator)
            gain = uniform(self.gain, 3 * len(images), generator).view(-1, 3, 1, 1)
            images = adjust_colors(images, saturation, gain)
        compressed = torch.tensor([coin(self.jpeg, generator) for _ in images])
        if compressed.any():
            images[compressed] = jpeg_round_trip(images[compressed], self.jpeg_quality, generator)
        grayscale = [coin(self.grayscale, generator) for _ in images]
        return torch.stack(
            [to_grayscale(image) if gray else image for image, gray in zip(images, grayscale, strict=True)]
        )


def to_grayscale(images: Tensor) -> Tensor:
    """Replace all channels of images (..., 3, H, W) by their luma, as the service converts colour to grey."""
    return luma(images).expand_as(images)


def adjust_colors(images: Tensor, saturation: Tensor, gain: Tensor) -> Tensor:
    """Scale the channels of images by `gain` and their distance from grey by `saturation`, in linear light.

    Linear light is where exposure and dyes act multiplicatively. `saturation` keeps the luminance (ITU-R BT.709), and
    grey images stay grey: their channels share the mean of `gain`.

    Args:
        images: float32 (N, 3, H, W), sRGB in 0..1.
        saturation: float32 (N, 1, 1, 1), at least 0.
        gain: float32 (N, 3, 1, 1), at least 0.
    """
    grey = (images == images[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    linear = srgb_to_linear(images) * torch.where(grey, gain.mean(1, keepdim=True), gain)
    luminance = (linear * torch.tensor(LINEAR_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    changed = linear_to_srgb(luminance + (linear - luminance) * saturation)
    return torch.where(grey, changed[:, :1], changed)


def _random_crop(item: Tensor, crop: int, *, larger: bool, generator: Generator) -> Tensor:
    """Cut a square (C, crop, crop) at a random position; a `larger` one is scaled down with an antialiasing filter."""
    height, width = item.shape[1:]
    side = crop + integer(0, min(height, width) - crop, generator) if larger else crop
    top, left = integer(0, height - side, generator), integer(0, width - side, generator)
    square = item[:, top : top + side, left : left + side]
    if side == crop:
        return square
    return F.interpolate(square[None], (crop, crop), mode="bicubic", antialias=True)[0].clamp(0, 1)

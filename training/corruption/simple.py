"""Corruptions of items of any shape: Gaussian noise, masking, salt and pepper, occlusion, dropout, and none.

Each class is a recipe table and a callable `corruption(clean, generator)`. `clean` is float32 with values in 0..1,
of shape N,C,H,W for images or N,F for vectors; the result is a tensor of the same shape and type.
"""

from typing import Literal, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, model_validator
from torch import Generator, Tensor

from training.schema import Fraction, RecipeTable


class Identity(RecipeTable):
    """Return the inputs unchanged."""

    kind: Literal["none"] = "none"

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:  # noqa: ARG002 - one signature for all kinds
        return clean


class Gaussian(RecipeTable):
    """Add Gaussian noise of one level to every value."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: PositiveFloat = 0.1
    """Standard deviation of the noise, on the scale where black is 0 and white is 1."""
    clip: bool = True
    """Clip the noisy values to 0..1, the range that a stored image can hold. The lecture does not clip."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        noisy = torch.randn(clean.shape, generator=generator).mul_(self.sigma).add_(clean)
        return noisy.clamp_(0, 1) if self.clip else noisy


class BlindGaussian(RecipeTable):
    """Add Gaussian noise of a level that is drawn for each item, then clip to 0..1 and round to 8 bits.

    Training on a range of levels gives one model for noise of unknown level (DnCNN-B in Zhang et al., "Beyond a
    Gaussian denoiser", IEEE TIP 2017). An image whose channels are equal gets the same noise in all channels, so that
    it stays grey. Raises ValidationError if `low` is above `high`.
    """

    kind: Literal["gaussian-blind"] = "gaussian-blind"
    low: NonNegativeFloat = 0.0
    """Lowest standard deviation, on the scale where black is 0 and white is 1."""
    high: PositiveFloat = 0.2157
    """Highest standard deviation, by default 55 grey levels. The level is drawn uniformly from `low` to `high`."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        sigma = torch.rand(len(clean), *[1] * (clean.ndim - 1), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        if clean.ndim == 4:
            grey = (clean == clean[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
            noise = torch.where(grey, noise[:, :1], noise)
        noisy = noise.mul_(sigma.mul_(self.high - self.low).add_(self.low)).add_(clean)
        return noisy.clamp_(0, 1).mul_(255).round_().div_(255)


class Masking(RecipeTable):
    """Set a fixed share of the values of each item to 0, at places that are drawn for each item and call.

    This is the masking noise of Vincent et al., "Extracting and composing robust features with denoising
    autoencoders" (ICML 2008). In an image each channel of a pixel is masked separately. Unlike dropout, the number of
    masked values is fixed and the other values are not scaled.
    """

    kind: Literal["masking"] = "masking"
    fraction: Fraction = 0.25
    """Share of the values of an item that is masked; the count is rounded to a whole number."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        flat = clean.flatten(1)
        count = round(self.fraction * flat.shape[1])
        order = torch.rand(flat.shape, generator=generator).argsort(1)
        return flat.scatter(1, order[:, :count], 0.0).view(clean.shape)


class SaltAndPepper(RecipeTable):
    """Replace each value with probability `probability`: by 0 or by 1, both equally likely.

    Vincent et al., "Stacked denoising autoencoders" (JMLR 2010), section 3.3.
    """

    kind: Literal["salt-and-pepper"] = "salt-and-pepper"
    probability: Fraction = 0.1
    """Probability that a value is replaced, independently for each value."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        draw = torch.rand(clean.shape, generator=generator)
        return clean.where(draw >= self.probability, (draw < self.probability / 2).to(clean.dtype))


class Occlusion(RecipeTable):
    """Set a contiguous part of each item to 0, at a position that is drawn for each item and call.

    In an image the part is a rectangle with the aspect ratio of the image, in all channels. In a vector it is a run of
    adjacent features, which is meaningful only for ordered features such as the samples of a signal.
    """

    kind: Literal["occlusion"] = "occlusion"
    fraction: Fraction = 0.1
    """Share of the area of an item that is hidden. Each side of the part is rounded to whole pixels."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        first = min(2, clean.ndim - 1)  # height and width of N,C,H,W, or the features of N,F
        hidden = torch.ones([1] * clean.ndim, dtype=torch.bool)
        for axis in range(first, clean.ndim):
            side = clean.shape[axis]
            extent = round(side * self.fraction ** (1 / (clean.ndim - first)))
            start = torch.randint(side - extent + 1, (len(clean), 1), generator=generator)
            places = torch.arange(side)
            inside = (places >= start) & (places < start + extent)
            hidden = hidden & inside.view([-1 if at == 0 else side if at == axis else 1 for at in range(clean.ndim)])
        return clean.masked_fill(hidden, 0.0)


class Dropout(RecipeTable):
    """Set each value to 0 with probability `probability` and scale the others up: dropout applied to the inputs.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (JMLR 2014). Unlike
    `masking`, the number of dropped values is random, and scaling keeps the expected value of every input.
    """

    kind: Literal["dropout"] = "dropout"
    probability: Fraction = 0.25
    """Probability that a value is set to 0, independently for each value."""
    scale: bool = True
    """Divide the remaining values by 1 - `probability`."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        kept = torch.rand(clean.shape, generator=generator) >= self.probability
        return torch.where(kept, clean / (1 - self.probability) if self.scale else clean, 0.0)

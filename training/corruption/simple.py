"""Corruptions of items of any shape: normal noise, masking, occlusion, dropout, and none.

Each is a recipe table and a function of (clean, generator): float32 in 0..1, N first.
"""

from typing import Literal, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, model_validator
from torch import Generator, Tensor

from training.schema import Fraction, StrictModel


class Identity(StrictModel):
    """The inputs as they are."""

    kind: Literal["none"] = "none"

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:  # noqa: ARG002 - one signature for all kinds
        return clean


class Gaussian(StrictModel):
    """Adds normal noise to every value."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: PositiveFloat
    """Standard deviation, where 1 is the whole range from black to white."""
    clip: bool = True
    """Cut to 0..1, as any stored picture is; the lecture adds the noise and leaves it uncut."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        noisy = torch.randn(clean.shape, generator=generator).mul_(self.sigma).add_(clean)
        return noisy.clamp_(0, 1) if self.clip else noisy


class BlindGaussian(StrictModel):
    """Adds normal noise of a level that is drawn for every picture, as the 8 bits of a stored picture keep it.

    A grey picture gets one noise for all its channels, as a picture has that was grey when it was taken.
    """

    kind: Literal["gaussian-blind"] = "gaussian-blind"
    low: NonNegativeFloat = 0.0
    """Least standard deviation, where 1 is the whole range from black to white."""
    high: PositiveFloat
    """Largest standard deviation; all between are as likely."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        spread = torch.rand(len(clean), *[1] * (clean.ndim - 1), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        if clean.ndim == 4:
            grey = (clean == clean[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
            noise = torch.where(grey, noise[:, :1], noise)
        noisy = noise.mul_(spread.mul_(self.high - self.low).add_(self.low)).add_(clean)
        return noisy.clamp_(0, 1).mul_(255).round_().div_(255)


class Masking(StrictModel):
    """Sets exactly `fraction` of each item's inputs to 0, drawn anew each time (Vincent et al. 2008).

    For pictures a masked input is one value of one channel. Not dropout: nothing is scaled, and the count is fixed.
    """

    kind: Literal["masking"] = "masking"
    fraction: Fraction
    """Of an item's inputs, rounded to a whole count."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        flat = clean.flatten(1)
        count = round(self.fraction * flat.shape[1])
        order = torch.rand(flat.shape, generator=generator).argsort(1)
        return flat.scatter(1, order[:, :count], 0.0).view(clean.shape)


class SaltAndPepper(StrictModel):
    """Sets each value with a chance of `probability` to 0 or 1, by a fair coin."""

    kind: Literal["salt-and-pepper"] = "salt-and-pepper"
    probability: Fraction
    """Of all values, on average."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        draw = torch.rand(clean.shape, generator=generator)
        return clean.where(draw >= self.probability, (draw < self.probability / 2).to(clean.dtype))


class Occlusion(StrictModel):
    """Sets a part of each item to 0, at a place drawn anew each time: the whole item's shape made smaller.

    Of a picture a rectangle, a square where the picture is one, in all channels; of a vector a run of neighbours, which
    means something where the features have an order, as a signal's do.
    """

    kind: Literal["occlusion"] = "occlusion"
    fraction: Fraction
    """Of an item's area; each side of the part is rounded to whole pixels."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        first = min(2, clean.ndim - 1)  # the sides of N,C,H,W are behind the channels
        hidden = torch.ones([1] * clean.ndim, dtype=torch.bool)
        for axis in range(first, clean.ndim):
            side = clean.shape[axis]
            extent = round(side * self.fraction ** (1 / (clean.ndim - first)))
            start = torch.randint(side - extent + 1, (len(clean), 1), generator=generator)
            places = torch.arange(side)
            inside = (places >= start) & (places < start + extent)
            hidden = hidden & inside.view([-1 if at == 0 else side if at == axis else 1 for at in range(clean.ndim)])
        return clean.masked_fill(hidden, 0.0)


class Dropout(StrictModel):
    """Sets each value to 0 with a chance of `probability` and scales the others up, as dropout on the inputs does.

    Beside `masking`, to measure what the difference is: how many values are lost is left to chance, and what is left
    keeps the mean of the whole (Srivastava et al. 2014).
    """

    kind: Literal["dropout"] = "dropout"
    probability: Fraction
    """Of all values, on average."""
    scale: bool = True
    """Divide what is left by 1 - probability."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        kept = torch.rand(clean.shape, generator=generator) >= self.probability
        return torch.where(kept, clean / (1 - self.probability) if self.scale else clean, 0.0)

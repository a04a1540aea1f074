"""What is done to the inputs while training, and to the test set when denoising is measured; the target stays clean.

Each kind is its own recipe table and a function of (clean, generator): float32 in 0..1, any shape with N first.
The generator is the run's; nothing here touches global randomness.
"""

from typing import Annotated, Literal

import torch
from pydantic import Discriminator, PositiveFloat
from torch import Generator, Tensor

from training.section import Section, Share


class Nothing(Section):
    """The inputs as they are."""

    kind: Literal["none"] = "none"

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:  # noqa: ARG002 - one signature for all kinds
        return clean


class Gaussian(Section):
    """Adds normal noise to every value."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: PositiveFloat
    """Standard deviation, where 1 is the whole range from black to white."""
    clip: bool = True
    """Cut to 0..1, as any stored picture is; the lecture adds the noise and leaves it uncut."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        noisy = torch.randn(clean.shape, generator=generator).mul_(self.sigma).add_(clean)
        return noisy.clamp_(0, 1) if self.clip else noisy


class Masking(Section):
    """Sets exactly `share` of each item's inputs to 0, drawn anew each time (Vincent et al. 2008).

    For pictures a masked input is one value of one channel. Not dropout: nothing is scaled, and the count is fixed.
    """

    kind: Literal["masking"] = "masking"
    share: Share
    """Of an item's inputs, rounded to a whole count."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        flat = clean.flatten(1)
        count = round(self.share * flat.shape[1])
        order = torch.rand(flat.shape, generator=generator).argsort(1)
        return flat.scatter(1, order[:, :count], 0.0).view(clean.shape)


class SaltAndPepper(Section):
    """Sets each value with probability `share` to 0 or 1, by a fair coin."""

    kind: Literal["salt-and-pepper"] = "salt-and-pepper"
    share: Share
    """Of all values, on average."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        draw = torch.rand(clean.shape, generator=generator)
        return clean.where(draw >= self.share, (draw < self.share / 2).to(clean.dtype))


Corruption = Annotated[Nothing | Gaussian | Masking | SaltAndPepper, Discriminator("kind")]

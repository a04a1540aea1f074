"""What is done to the inputs while training, and to the test set when denoising is measured; the target stays clean.

Each kind is its own recipe table and a function of (clean, generator): float32 in 0..1, N first. The generator is the
run's; nothing here touches global randomness.
"""

from typing import Annotated, Literal, Self

import torch
from annotated_types import Len
from pydantic import Discriminator, PositiveFloat, model_validator
from torch import Generator, Tensor

from training.corruption.banding import Banding
from training.corruption.blocks import Jpeg
from training.corruption.blotches import ChromaBlotches
from training.corruption.camera import Camera
from training.corruption.film import FilmGrain
from training.corruption.pictures import PictureNoise
from training.corruption.scan import Dust, Halftone, Paper
from training.corruption.simple import BlindGaussian, Dropout, Gaussian, Identity, Masking, Occlusion, SaltAndPepper
from training.imaging.draws import choice
from training.schema import StrictModel

AnyCorruption = Annotated[
    Identity
    | Gaussian
    | BlindGaussian
    | Masking
    | SaltAndPepper
    | Occlusion
    | Dropout
    | Camera
    | FilmGrain
    | Halftone
    | Dust
    | Paper
    | Jpeg
    | Banding
    | ChromaBlotches,
    Discriminator("kind"),
]


class Mixture(StrictModel):
    """Each item under one of several corruptions, drawn by lot."""

    kind: Literal["mixture"] = "mixture"
    of: Annotated[list[AnyCorruption], Len(min_length=2)]
    """The corruptions, each a table as it would stand alone."""
    shares: list[PositiveFloat] | None = None
    """How often each is drawn, relative to the others; equally often where this is left out."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if self.shares is not None and len(self.shares) != len(self.of):
            raise ValueError(f"there are {len(self.of)} corruptions in `of` and {len(self.shares)} shares")
        return self

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        if self.shares is None:
            which = torch.randint(len(self.of), (len(clean),), generator=generator)
        else:
            which = choice(self.shares, len(clean), generator)
        corrupted = clean.clone()
        for number, corruption in enumerate(self.of):
            chosen = which == number
            if chosen.any():
                corrupted[chosen] = corruption(clean[chosen], generator)
        return corrupted


Corruption = Annotated[AnyCorruption | Mixture, Discriminator("kind")]

EVALUATION_SIGMAS = (15, 25, 50)
"""Levels of normal noise, of 255, that the field measures at."""


def evaluation_levels(corruption: Corruption) -> dict[str, Corruption]:
    """Return the corruptions to evaluate for a corruption used in training, by the suffix of their figures.

    Blind Gaussian noise is evaluated at each of EVALUATION_SIGMAS within its range, a mixture with noise of images at
    each of its kinds, and any other corruption as it is.
    """
    if isinstance(corruption, Mixture) and any(isinstance(one, PictureNoise) for one in corruption.of):
        return {
            name or f"_{one.kind}": level
            for one in corruption.of
            if not isinstance(one, Identity)
            for name, level in evaluation_levels(one).items()
        }
    if not isinstance(corruption, BlindGaussian):
        return {"": corruption}
    reached = {level: level / 255 for level in EVALUATION_SIGMAS if corruption.low <= level / 255 <= corruption.high}
    return {f"_{level}": BlindGaussian(low=sigma, high=sigma) for level, sigma in reached.items()} or {"": corruption}

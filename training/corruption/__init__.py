"""Corruptions of the inputs, for training and for the evaluation of denoising. The target is the clean input.

Each kind is a recipe table and a callable `corruption(clean, generator)` on float32 tensors with values in 0..1 and
the items along the first axis. All random numbers come from the generator; the global random state is not used.
"""

from typing import Annotated, Literal, Self

import torch
from annotated_types import Len
from pydantic import Discriminator, Field, PositiveFloat, model_validator
from torch import Generator, Tensor

from training.corruption.banding import Banding
from training.corruption.blemishes import Blemishes
from training.corruption.blocks import Jpeg
from training.corruption.blotches import ChromaBlotches
from training.corruption.camera import Camera
from training.corruption.film import FilmGrain
from training.corruption.pictures import PictureNoise
from training.corruption.scan import Dust, Halftone, Paper
from training.corruption.simple import BlindGaussian, Dropout, Gaussian, Identity, Masking, Occlusion, SaltAndPepper
from training.imaging.draws import choice
from training.schema import RecipeTable

AnyCorruption = Annotated[
    Identity
    | Gaussian
    | BlindGaussian
    | Masking
    | SaltAndPepper
    | Occlusion
    | Dropout
    | Blemishes
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


class Mixture(RecipeTable):
    """Apply to each item one of several corruptions, drawn at random.

    Raises ValidationError if the number of `shares` differs from the number of corruptions.
    """

    kind: Literal["mixture"] = "mixture"
    of: Annotated[list[AnyCorruption], Len(min_length=2)] = Field(default=[BlindGaussian(), SaltAndPepper()])
    """The corruptions. Each is a table with the same keys as a `[corruption]` table."""
    shares: list[PositiveFloat] | None = None
    """Weights of the corruptions in the draw, one for each. Without them all are equally likely."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if self.shares is not None and len(self.shares) != len(self.of):
            raise ValueError(
                f"there are {len(self.of)} corruptions in `of` and {len(self.shares)} shares: give one for each"
            )
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
"""Standard deviations of Gaussian noise, on the scale 0..255, at which publications report denoising results."""


def evaluation_levels(corruption: Corruption) -> dict[str, Corruption]:
    """Return the corruptions to evaluate for a corruption used in training, by the suffix of the metrics' names.

    Blind Gaussian noise gives one entry for each level of EVALUATION_SIGMAS within its range, with suffixes such as
    `_25`. A mixture that contains noise of images gives the entries of each of its kinds except `none`. Any other
    corruption is the only entry, with an empty suffix.
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

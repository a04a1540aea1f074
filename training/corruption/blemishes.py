"""Patches that do not belong to an image, from which a net learns to restore what is usual there."""

import math
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Generator, Tensor

from training.errors import RecipeError
from training.imaging.draws import chance, log_uniform, uniform
from training.imaging.smoothing import blur, unit_deviation
from training.schema import Probability, Range, RecipeTable


class Blemishes(RecipeTable):
    """Cover irregular patches of each image with a flat level or with parts of another image of the batch.

    Such made-up defects replace examples of real ones: a net that restores the image under them restores it under a
    real defect, too, and its error shows where. Parts of other images are from CutPaste (Li et al., CVPR 2021), patches
    of irregular shape and opacity from DRAEM (Zavrtanik et al., ICCV 2021). Raises RecipeError for items that are not
    images.
    """

    kind: Literal["blemishes"] = "blemishes"
    patches: PositiveInt = 3
    """Largest number of patches in an image. Some images have none, so that the net learns to leave those alone."""
    presence: Probability = 0.5
    """Probability of each patch."""
    size: Range = (0.02, 0.2)
    """Radius of a patch, as a fraction of the shorter side of the image. Drawn log-uniformly."""
    stretch: Range = (1.0, 8.0)
    """Ratio of the length of a patch to its width, whose product stays the same. Drawn log-uniformly."""
    opacity: Range = (0.15, 1.0)
    """Opacity of a patch: 0.15 is a faint stain, 1 hides the image."""

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the images N,C,H,W with patches, in the same shape."""
        if clean.ndim != 4:
            raise RecipeError(
                f"corruption.kind = 'blemishes' needs images, and the items have the shape {tuple(clean.shape[1:])}"
            )
        count, channels = clean.shape[:2]
        damaged = clean
        for _ in range(self.patches):
            others = clean[torch.randint(count, (count,), generator=generator)].flip(2, 3)
            levels = torch.rand(count, channels, 1, 1, generator=generator)
            fill = torch.where(chance(0.5, count, generator), levels, others)
            opacity = uniform(self.opacity, count, generator) * chance(self.presence, count, generator)
            damaged = torch.lerp(damaged, fill, self._cover(clean, generator) * opacity)
        return damaged

    def _cover(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return one patch for each image, an ellipse with an irregular edge: N,1,H,W in 0..1."""
        count, _, height, width = clean.shape
        rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
        y = rows - uniform((0.0, float(height)), count, generator)
        x = columns - uniform((0.0, float(width)), count, generator)
        angle = uniform((0.0, math.pi), count, generator)
        radius = log_uniform(self.size, count, generator) * min(height, width)
        stretch = log_uniform(self.stretch, count, generator).sqrt()
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        distance = ((along / stretch).square() + (across * stretch).square()).sqrt()
        edge = blur(torch.randn(count, 1, height, width, generator=generator), radius.clamp(min=1) / 2)
        # Across a patch, distance / stretch grows by 1 per pixel, so that the border is about a pixel wide.
        inside = (radius * (1 + 0.3 * unit_deviation(edge)) - distance) / stretch
        return (inside + 0.5).clamp(0, 1)

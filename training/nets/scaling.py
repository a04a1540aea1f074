"""Scales the columns of vectors inside a network, so that columns of different units count alike."""

from typing import Literal

import torch
from torch import Tensor, nn

from training.errors import RecipeError

Shape = tuple[int, ...]
"""The shape of one item: (C, H, W) or (F,)."""
Normalization = Literal["none", "minmax", "standard"]
MIN_RANGE = 1e-12
"""Ranges and standard deviations below this belong to constant columns, which are not scaled."""


class ColumnScaling(nn.Module):
    """An affine map of each column, which is fitted to the training set and part of the exported graphs."""

    offset: Tensor
    """Number to subtract from each column, (F,)."""
    factor: Tensor
    """Number by which each column is then divided, (F,)."""

    def __init__(self, shape: Shape, kind: Normalization) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("offset", torch.zeros(shape))
        self.register_buffer("factor", torch.ones(shape))

    def fit(self, items: Tensor) -> None:
        """Store the scale of items, float32 (N, F): `minmax` for 0..1, `standard` for mean 0 and deviation 1."""
        if self.kind == "minmax":
            offset, factor = items.amin(0), items.amax(0) - items.amin(0)
        else:
            offset, factor = items.double().mean(0), items.double().std(0, correction=0)
        self.offset.copy_(offset)
        self.factor.copy_(torch.where(factor > MIN_RANGE, factor, torch.ones_like(factor)))

    def forward(self, x: Tensor) -> Tensor:
        """Scale vectors (N, F)."""
        return (x - self.offset) / self.factor

    def inverse(self, x: Tensor) -> Tensor:
        """Return scaled vectors (N, F) on the scale of the data."""
        return x * self.factor + self.offset


def normalization(kind: Normalization | None, shape: Shape, *, sigmoid: bool) -> Normalization:
    """Return the kind of scaling; without one, vectors are standardized, or scaled to 0..1 for a sigmoid output."""
    return kind or ("none" if len(shape) != 1 else "minmax" if sigmoid else "standard")


def column_scaling(kind: Normalization | None, shape: Shape, *, sigmoid: bool) -> ColumnScaling | None:
    """Return the scaling of a network for items of `shape`, or None if it scales nothing.

    Raises RecipeError if images are to be scaled.
    """
    kind = normalization(kind, shape, sigmoid=sigmoid)
    if kind == "none":
        return None
    if len(shape) != 1:
        raise RecipeError(f"net.normalize = '{kind}' is for vectors; pictures are in 0..1 already: set it to 'none'")
    return ColumnScaling(shape, kind)

"""What a published model answers to test pictures, as a picture to look at: a row for each step."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from training.data import Data
from training.errors import NothingToDraw
from training.evaluation.figures import NOISE_SEED, Run, corrupted, reconstruction
from training.nets import Operation
from training.recipe import Recipe

COLUMNS, GAP = 12, 2
WIDEST = 1200
"""Pixels that pictures may fill in a row, if there are more than two."""
SMALLEST = 84
"""Pixels of a picture's side below which it is enlarged by whole numbers, without smoothing."""


def draw_pictures(recipe: Recipe, data: Data, graphs: Mapping[Operation, Run]) -> bytes:
    """A PNG: test pictures as they are; as they were given, where that differs; and as the graphs answer them.

    Raises NothingToDraw where the data is no pictures or the model answers none.
    """
    reconstruct = reconstruction(graphs)
    if data.test.ndim != 4 or not (reconstruct or "denoise" in graphs):
        raise NothingToDraw(
            "there is nothing to draw: pictures are drawn of models that reconstruct or denoise pictures"
        )
    clean = data.test[: max(2, min(COLUMNS, WIDEST // data.test.shape[2]))]
    rows = [clean]
    if reconstruct:
        rows.append(reconstruct(clean))
    if "denoise" in graphs:
        given = corrupted(recipe.corruption, clean, NOISE_SEED)
        rows += [given, graphs["denoise"](given)]
    out = BytesIO()
    imsave(out, sheet(rows), format="png")
    return out.getvalue()


def sheet(rows: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Rows of pictures (uint8 N,H,W,C) as one picture H,W,3 with white between; small ones are enlarged."""
    scale = max(1, SMALLEST // max(rows[0].shape[1:3]))
    gaps = [(0, 0), (GAP, GAP), (GAP, GAP), (0, 0)]
    framed = [np.pad(row.repeat(scale, 1).repeat(scale, 2), gaps, constant_values=255) for row in rows]
    joined = np.concatenate([np.concatenate(list(row), axis=1) for row in framed])
    return np.ascontiguousarray(np.broadcast_to(joined, (*joined.shape[:2], 3)))

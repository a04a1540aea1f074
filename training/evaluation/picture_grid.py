"""Test pictures, their noise, and what a published model answers, as pictures to look at: a row for each step."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from training.corruption import evaluation_levels
from training.data import Dataset
from training.errors import NothingToPlot
from training.evaluation.figures import NOISE_SEED, GraphFunction, corrupt, reconstruct_function
from training.nets import Operation
from training.recipe import Recipe

COLUMNS, PADDING = 12, 2
MAX_ROW_PIXELS = 1200
"""Pixels that pictures may fill in a row, if there are more than two."""
MIN_SIDE = 84
"""Pixels of a picture's side below which it is enlarged by whole numbers, without smoothing."""


def sample_grid(recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction]) -> bytes:
    """A PNG: test pictures as they are; as they were given, where that differs; and as the graphs answer them.

    Raises NothingToPlot where the data is no pictures or the model answers none.
    """
    reconstruct = reconstruct_function(graphs)
    if data.test.ndim != 4 or not (reconstruct or "denoise" in graphs):
        raise NothingToPlot(
            "there is nothing to draw: pictures are drawn of models that reconstruct or denoise pictures"
        )
    clean = data.test[: max(2, min(COLUMNS, MAX_ROW_PIXELS // data.test.shape[2]))]
    rows = [clean]
    if reconstruct:
        rows.append(reconstruct(clean))
    if "denoise" in graphs:
        given = corrupt(recipe.corruption, clean, NOISE_SEED)
        rows += [given, graphs["denoise"](given)]
    out = BytesIO()
    imsave(out, make_grid(rows), format="png")
    return out.getvalue()


def draw_noise(recipe: Recipe, data: Dataset) -> dict[str, bytes]:
    """A PNG for each kind of noise in a recipe: test pictures above, the same with the noise below.

    Raises NothingToDraw where the data is no pictures.
    """
    if data.test.ndim != 4:
        raise NothingToPlot("there is nothing to draw: noise is drawn on pictures, and these are vectors")
    clean = data.test[: max(2, min(COLUMNS, MAX_ROW_PIXELS // data.test.shape[2]))]
    sheets: dict[str, bytes] = {}
    for name, corruption in evaluation_levels(recipe.corruption).items():
        out = BytesIO()
        imsave(out, make_grid([clean, corrupt(corruption, clean, NOISE_SEED)]), format="png")
        sheets[f"{corruption.kind}{name.removeprefix(f'_{corruption.kind}')}"] = out.getvalue()
    return sheets


def make_grid(rows: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Rows of pictures (uint8 N,H,W,C) as one picture H,W,3 with white between; small ones are enlarged."""
    scale = max(1, MIN_SIDE // max(rows[0].shape[1:3]))
    gaps = [(0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)]
    framed = [np.pad(row.repeat(scale, 1).repeat(scale, 2), gaps, constant_values=255) for row in rows]
    joined = np.concatenate([np.concatenate(list(row), axis=1) for row in framed])
    return np.ascontiguousarray(np.broadcast_to(joined, (*joined.shape[:2], 3)))

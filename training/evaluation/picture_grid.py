"""Grids of test images, their noisy versions and a model's outputs, one row each, as PNG."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from training.corruption import evaluation_levels
from training.data import Dataset
from training.errors import NothingToPlot
from training.evaluation.metrics import NOISE_SEED, GraphFunction, corrupt, reconstruct_function
from training.nets import Operation
from training.recipe import Recipe

COLUMNS, PADDING = 12, 2
MAX_ROW_PIXELS = 1200
"""Maximum width of a row in pixels; a row has at least two images."""
MIN_SIDE = 84
"""Side in pixels below which images are enlarged by an integer factor, without smoothing."""


def sample_grid(recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction]) -> bytes:
    """Return `sample_image` as a PNG. Raises NothingToPlot as it does."""
    return to_png(sample_image(recipe, data, graphs))


def sample_image(recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction]) -> NDArray[np.uint8]:
    """Return rows of test images, their reconstructions, their noisy versions and the denoised ones: uint8 (H, W, 3).

    Raises NothingToPlot if the items are not images, or the model neither reconstructs nor denoises.
    """
    reconstruct = reconstruct_function(graphs)
    if data.test.ndim != 4 or not (reconstruct or "denoise" in graphs):
        raise NothingToPlot("there is nothing to draw: the model must reconstruct or denoise images")
    clean = data.test[: max(2, min(COLUMNS, MAX_ROW_PIXELS // data.test.shape[2]))]
    rows = [clean]
    if reconstruct:
        rows.append(reconstruct(clean))
    if "denoise" in graphs:
        noisy = corrupt(recipe.corruption, clean, NOISE_SEED)
        rows += [noisy, graphs["denoise"](noisy)]
    return make_grid(rows)


def to_png(image: NDArray[np.uint8]) -> bytes:
    """Return an image uint8 (H, W, 3) as a PNG."""
    out = BytesIO()
    imsave(out, image, format="png")
    return out.getvalue()


def draw_noise(recipe: Recipe, data: Dataset) -> dict[str, bytes]:
    """Return a PNG for each kind of noise in a recipe, by its name: test images above, the noisy ones below.

    Raises NothingToPlot if the items are not images.
    """
    if data.test.ndim != 4:
        raise NothingToPlot("there is nothing to draw: the items must be images, but they are vectors")
    clean = data.test[: max(2, min(COLUMNS, MAX_ROW_PIXELS // data.test.shape[2]))]
    grids: dict[str, bytes] = {}
    for name, corruption in evaluation_levels(recipe.corruption).items():
        picture = to_png(make_grid([clean, corrupt(corruption, clean, NOISE_SEED)]))
        grids[f"{corruption.kind}{name.removeprefix(f'_{corruption.kind}')}"] = picture
    return grids


def make_grid(rows: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Join rows of images uint8 (N, H, W, C), with C 1 or 3, into one image uint8 (height, width, 3).

    The gaps are white, and small images are enlarged.
    """
    scale = max(1, MIN_SIDE // max(rows[0].shape[1:3]))
    gaps = [(0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)]
    framed = [np.pad(row.repeat(scale, 1).repeat(scale, 2), gaps, constant_values=255) for row in rows]
    joined = np.concatenate([np.concatenate(list(row), axis=1) for row in framed])
    return np.ascontiguousarray(np.broadcast_to(joined, (*joined.shape[:2], 3)))

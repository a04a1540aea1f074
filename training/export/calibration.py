"""A graph in 8 bits: what its ranges are taken from, and what is left of its decibels. Knows graphs as functions."""

from collections.abc import Mapping

import numpy as np

from training import augmentation
from training.data import Dataset, Items
from training.evaluation.figures import (
    NOISE_SEED,
    Figures,
    GraphFunction,
    corrupt,
    error_figures,
    evaluate_denoising,
    run_in_batches,
    to_uint8,
)
from training.loop.batches import as_tensor, to_float
from training.nets import Operation
from training.recipe import Recipe

CALIBRATION_ITEMS = 64
"""Items that ranges are taken from."""


def calibration_inputs(recipe: Recipe, data: Dataset, operation: Operation) -> list[Items]:
    """Training items as callers of an operation would send them, one at a time: what 8-bit ranges are taken from."""
    chosen = np.random.default_rng(recipe.optimizer.seed).permutation(len(data.train))[:CALIBRATION_ITEMS]
    items: Items = data.train[np.sort(chosen)]
    kinds = [items]
    if items.ndim == 4 and items.shape[3] == 3:
        kinds.append(to_grayscale(items))  # whose noise is stronger, being the same in all channels
    given = [corrupt(recipe.corruption, kind, NOISE_SEED + 2) if operation == "denoise" else kind for kind in kinds]
    return [kind[at : at + 1] for kind in given for at in range(len(kind))]


def to_grayscale(items: Items) -> Items:
    """Colour pictures uint8 N,H,W,3 with their luma in all channels."""
    return to_uint8(np.moveaxis(augmentation.to_grayscale(to_float(as_tensor(items))).numpy(), 1, 3))


def psnr_figures(recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction]) -> Figures:
    """The PSNR of what graphs answer pictures with, as `evaluate` names it."""
    figures: Figures = {}
    if reconstruct := graphs.get("reconstruct"):
        figures["reconstruct_psnr"] = error_figures(run_in_batches(reconstruct, data.test), data.test)["psnr"]
    if denoise := graphs.get("denoise"):
        for level, _, _, found in evaluate_denoising(recipe, data, denoise):
            figures[f"denoise_psnr{level}"] = found["psnr"]
    return figures

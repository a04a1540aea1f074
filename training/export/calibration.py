"""A graph in 8 bits: what its ranges are taken from, and what is left of its decibels. Knows graphs as functions."""

from collections.abc import Mapping

import numpy as np

from training import augmentation
from training.data import Data, Items
from training.evaluation.figures import NOISE_SEED, Figures, Run, answers, corrupted, denoising, eight_bits, errors
from training.loop.batches import as_float, as_tensor
from training.nets import Operation
from training.recipe import Recipe

CALIBRATED = 64
"""Items that ranges are taken from."""


def calibration(recipe: Recipe, data: Data, operation: Operation) -> list[Items]:
    """Training items as callers of an operation would send them, one at a time: what 8-bit ranges are taken from."""
    chosen = np.random.default_rng(recipe.optimisation.seed).permutation(len(data.train))[:CALIBRATED]
    items: Items = data.train[np.sort(chosen)]
    kinds = [items]
    if items.ndim == 4 and items.shape[3] == 3:
        kinds.append(in_grey(items))  # whose noise is stronger, being the same in all channels
    given = [corrupted(recipe.corruption, kind, NOISE_SEED + 2) if operation == "denoise" else kind for kind in kinds]
    return [kind[at : at + 1] for kind in given for at in range(len(kind))]


def in_grey(items: Items) -> Items:
    """Colour pictures uint8 N,H,W,3 with their luma in all channels."""
    return eight_bits(np.moveaxis(augmentation.in_grey(as_float(as_tensor(items))).numpy(), 1, 3))


def decibels(recipe: Recipe, data: Data, graphs: Mapping[Operation, Run]) -> Figures:
    """The PSNR of what graphs answer pictures with, as `measure` names it."""
    figures: Figures = {}
    if reconstruct := graphs.get("reconstruct"):
        figures["reconstruct_psnr"] = errors(answers(reconstruct, data.test), data.test)["psnr"]
    if denoise := graphs.get("denoise"):
        for level, _, _, found in denoising(recipe, data, denoise):
            figures[f"denoise_psnr{level}"] = found["psnr"]
    return figures

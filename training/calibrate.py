"""A graph in 8 bits: what its ranges are taken from, and what is left of its decibels. Knows graphs as functions."""

from collections.abc import Mapping

import numpy as np

from training.corruption import levels
from training.data import Data, Items
from training.evaluate import NOISE_SEED, Figures, Run, answers, corrupted, errors
from training.nets import Operation
from training.recipe import Recipe

CALIBRATED = 64
"""Items that ranges are taken from."""


def calibration(recipe: Recipe, data: Data, operation: Operation) -> list[Items]:
    """Training items as callers of an operation would send them, one at a time: what 8-bit ranges are taken from."""
    chosen = np.random.default_rng(recipe.optimisation.seed).permutation(len(data.train))[:CALIBRATED]
    items: Items = data.train[np.sort(chosen)]
    given = corrupted(recipe.corruption, items, NOISE_SEED + 2) if operation == "denoise" else items
    return [given[at : at + 1] for at in range(len(given))]


def decibels(recipe: Recipe, data: Data, graphs: Mapping[Operation, Run]) -> Figures:
    """The PSNR of what graphs answer pictures with, as `measure` names it."""
    figures: Figures = {}
    if reconstruct := graphs.get("reconstruct"):
        figures["reconstruct_psnr"] = errors(answers(reconstruct, data.test), data.test)["psnr"]
    if denoise := graphs.get("denoise"):
        for level, corruption in levels(recipe.corruption).items():
            noisy = corrupted(corruption, data.test, NOISE_SEED)
            figures[f"denoise_psnr{level}"] = errors(answers(denoise, noisy), data.test)["psnr"]
    return figures

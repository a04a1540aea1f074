"""The inputs that calibrate int8 graphs, and the PSNR metrics by which int8 is compared with float32."""

from collections.abc import Mapping

import numpy as np

from training import augmentation
from training.data import Dataset, Items
from training.evaluation.metrics import (
    NOISE_SEED,
    GraphFunction,
    Metric,
    Metrics,
    by_key,
    corrupt,
    error_metrics,
    evaluate_denoising,
    run_in_batches,
    to_uint8,
)
from training.loop.batches import as_tensor, to_float
from training.nets import Operation
from training.recipe import Recipe

CALIBRATION_ITEMS = 64
"""Number of training items for calibration."""


def calibration_inputs(recipe: Recipe, data: Dataset, operation: Operation) -> list[Items]:
    """Return training items as clients of the operation would send them, for the ranges of int8 activations.

    Each is a batch of one image, uint8 (1, H, W, C). Colour images are added in grayscale too.
    """
    chosen = np.random.default_rng(recipe.optimizer.seed).permutation(len(data.train))[:CALIBRATION_ITEMS]
    items: Items = data.train[np.sort(chosen)]
    kinds = [items]
    if items.ndim == 4 and items.shape[3] == 3:
        kinds.append(to_grayscale(items))  # the noise of grey images is the same in all channels, hence stronger
    inputs = [corrupt(recipe.corruption, kind, NOISE_SEED + 2) if operation == "denoise" else kind for kind in kinds]
    return [batch[index : index + 1] for batch in inputs for index in range(len(batch))]


def to_grayscale(items: Items) -> Items:
    """Replace all channels of colour images uint8 (N, H, W, 3) by their luma."""
    return to_uint8(np.moveaxis(augmentation.to_grayscale(to_float(as_tensor(items))).numpy(), 1, 3))


def psnr_metrics(recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction]) -> Metrics:
    """Return the PSNR in dB of graphs that reconstruct or denoise the test images, by the names in a card."""
    metrics: list[Metric] = []
    if reconstruct := graphs.get("reconstruct"):
        errors = error_metrics(run_in_batches(reconstruct, data.test), data.test)
        metrics.append(Metric("reconstruct", "psnr", errors["psnr"]))
    if denoise := graphs.get("denoise"):
        results = evaluate_denoising(recipe, data, denoise)
        metrics += [Metric("denoise", "psnr", result.errors["psnr"], result.level) for result in results]
    return by_key(metrics)

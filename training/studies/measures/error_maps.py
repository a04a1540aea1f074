"""Maps of the reconstruction error, and how well a map finds defects whose places are known."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter1d
from sklearn.metrics import roc_auc_score

from training.data import Pixels

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

SMOOTHING_FRACTION = 1 / 48
"""Radius of the smoothing as a fraction of the shorter side, as in the maps of the service."""
MAX_FALSE_POSITIVES = 0.3
"""False positive rate up to which `region_overlap` integrates, as published."""
LEVELS = 60
"""Number of false positive rates at which `region_overlap` is computed."""


def error_maps(inputs: Pixels, outputs: Pixels) -> Floats:
    """Return the maps of /reconstruct?map=true for images uint8 (N, H, W, C): (N, H, W) on the 0..1 scale.

    A map is the root of the squared error, averaged over the channels and smoothed by three box filters.
    """
    squared = np.square((inputs.astype(np.float64) - outputs) / 255).mean(3)
    size = 2 * max(1, round(min(inputs.shape[1:3]) * SMOOTHING_FRACTION)) + 1
    for _ in range(3):
        for axis in (1, 2):
            squared = uniform_filter1d(squared, size, axis, mode="nearest")
    return np.sqrt(np.maximum(squared, 0))


def auroc(ordinary: Floats, unusual: Floats) -> float:
    """Return the probability that an unusual item has the higher score; ties count half."""
    labels = np.repeat([0, 1], [len(ordinary), len(unusual)])
    return float(roc_auc_score(labels, np.concatenate([ordinary, unusual])))


def pixel_auroc(ordinary: Floats, damaged: Floats, masks: Masks) -> float:
    """Return the AUROC of single pixels, of maps of ordinary and of damaged images (N, H, W)."""
    return auroc(np.concatenate([ordinary.ravel(), damaged[~masks]]), damaged[masks])


def region_overlap(ordinary: Floats, damaged: Floats, masks: Masks) -> float:
    """Return the area under the per-region overlap, up to MAX_FALSE_POSITIVES, as a fraction of its maximum.

    Bergmann et al., "The MVTec anomaly detection dataset" (IJCV 2021), section 5.2. Each connected region of a mask
    counts the same, however large it is: the mean of the fractions of the regions that are found, over the false
    positive rate of pixels. A random map has half of MAX_FALSE_POSITIVES.
    """
    false = np.sort(np.concatenate([ordinary.ravel(), damaged[~masks]]))[::-1]
    rates = np.linspace(0, MAX_FALSE_POSITIVES, LEVELS + 1)
    thresholds = false[np.minimum((rates * len(false)).astype(int), len(false) - 1)]
    regions = [
        np.sort(values[region]) for values, mask in zip(damaged, masks, strict=True) for region in _regions(mask)
    ]
    overlaps = [
        np.mean([1 - np.searchsorted(region, threshold, "right") / len(region) for region in regions])
        for threshold in thresholds
    ]
    return float(np.trapezoid(overlaps, rates) / MAX_FALSE_POSITIVES)


def _regions(mask: NDArray[np.bool_]) -> list[Masks]:
    """Return the connected regions of a mask (H, W), with diagonal neighbours, as masks."""
    numbered: NDArray[np.int64] = np.zeros(mask.shape, np.int64)
    count = label(mask, np.ones((3, 3)), output=numbered)
    return [numbered == number for number in range(1, int(count) + 1)]  # pyright: ignore[reportArgumentType] - an int

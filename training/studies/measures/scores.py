"""Scores of a restored picture against the clean one: PSNR, SSIM and FLIP, of the output in 8 bits.

PSNR alone prefers blur. SSIM (scikit-image) compares local structure, and FLIP (flip-evaluator) estimates the
difference that a person sees when the two pictures alternate. Scores whose package is not installed are left out.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation import metrics
from training.evaluation.metrics import to_uint8

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Scores = Mapping[str, float]
"""Scores by name: `psnr` in dB, `ssim` (1 for equal pictures) and `flip` (0 for equal pictures)."""


def psnr(restored: Floats, clean: Pixels) -> float:
    """Return the PSNR in dB of a picture (H, W, C) in 0..1, rounded to 8 bits, against uint8 `clean`."""
    difference = to_uint8(restored).astype(np.float64) - clean
    return metrics.psnr(np.square(difference).mean() / 255**2)


def score(restored: Floats, clean: Pixels) -> Scores:
    """Return all scores of a picture (H, W, C) in 0..1, rounded to 8 bits, against uint8 `clean`."""
    scores = {"psnr": psnr(restored, clean)}
    output = to_uint8(restored)
    if find_spec("skimage"):
        scores["ssim"] = _ssim(output, clean)
    if find_spec("flip_evaluator"):
        scores["flip"] = _flip(output, clean)
    return scores


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each score over the pictures."""
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def _ssim(output: Pixels, clean: Pixels) -> float:
    """Return the mean SSIM of the channels, with the Gaussian window of Wang et al. (TIP 2004)."""
    metrics_of: Any = import_module("skimage.metrics")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(metrics_of.structural_similarity(output, clean, channel_axis=2, **options))


def _flip(output: Pixels, clean: Pixels) -> float:
    """Return the mean FLIP (Andersson et al., HPG 2020) at 67 pixels per degree: a 4K monitor seen from 70 cm."""
    library: Any = import_module("flip_evaluator")
    reference, test = (np.repeat(one, 3 // one.shape[2], axis=2).astype(np.float32) / 255 for one in (clean, output))
    return float(library.evaluate(reference, test, "LDR", applyMagma=False)[1])

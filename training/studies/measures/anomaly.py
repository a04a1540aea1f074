"""Anomaly detection by the reconstruction error: the percentile that /reconstruct returns, as a score."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score, roc_curve

from training.data import Items
from training.evaluation.metrics import mse_per_item, run_in_batches
from training.studies.base.study import Results
from training.workspace import PublishedModel


def roc(model: PublishedModel, own: Items, other: Items) -> Results:
    """Compute the ROC curve of detecting foreign pictures by the percentile of their reconstruction error.

    Args:
        model: The published model; its card has the percentiles.
        own: Held-out pictures of the kind that the model was trained on.
        other: Pictures of another kind.

    Returns:
        `auroc`, and `curve` as pairs of false and true positive rate.
    """
    run = model.graphs["reconstruct"]
    known = model.card.error_percentiles or [0.0] * 101
    scores = [percentiles(mse_per_item(run_in_batches(run, items), items), known) for items in (own, other)]
    foreign = np.repeat([0, 1], [len(own), len(other)])
    false, true, _ = roc_curve(foreign, np.concatenate(scores))
    return {
        "auroc": float(roc_auc_score(foreign, np.concatenate(scores))),
        "curve": [[round(float(a), 4), round(float(b), 4)] for a, b in zip(false, true, strict=True)],
    }


def percentiles(errors: NDArray[np.float64], known: list[float]) -> NDArray[np.float64]:
    """Return the percentiles (N,) in 0..100 of mean squared errors (N,), interpolated as by the service.

    `known` has the errors at the percentiles 0, 1, ..., 100 of the test set.
    """
    return np.interp(errors, known, np.arange(101.0))


def region_overlap(maps: NDArray[np.floating], defects: NDArray[np.bool_], *, most_false: float = 0.3) -> float:
    """Compute the PRO score of anomaly maps: the overlap with each region, over the false positive rate.

    The mean overlap of the regions (connected defects) is integrated over false positive rates of 0 to `most_false`
    and divided by it (Bergmann et al., "MVTec AD", IJCV 2021).

    Args:
        maps: Scores of the pixels, (N, H, W).
        defects: The pixels of defects, (N, H, W).
        most_false: Largest false positive rate.

    Returns:
        The score in 0..1.
    """
    rates = np.linspace(0, most_false, 101)
    thresholds = np.quantile(maps[~defects], 1 - rates)
    overlaps: list[NDArray[np.float64]] = []
    for scores, damaged in zip(maps, defects, strict=True):
        regions, count = label(damaged, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            inside = np.sort(scores[regions == number])
            overlaps.append(1 - np.searchsorted(inside, thresholds) / len(inside))
    return float(np.trapezoid(np.mean(overlaps, axis=0), rates) / most_false)

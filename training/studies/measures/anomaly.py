"""Anomaly detection by the reconstruction error: the percentile that /reconstruct returns, as a score."""

import numpy as np
from numpy.typing import NDArray
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

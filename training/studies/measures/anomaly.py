"""How well a model's own words tell foreign pictures from its kind: the `percentile` of /reconstruct, as served."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from training.data import Items
from training.evaluation.figures import mse_per_item, run_in_batches
from training.studies.base.study import Results
from training.workspace import PublishedModel


def roc(model: PublishedModel, own: Items, other: Items) -> Results:
    """The curve, and the area under it, of calling pictures foreign to the model by their percentile."""
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
    """What the service says of pictures with these errors: the share of held-out ones that fare better, 0..100."""
    return np.interp(errors, known, np.arange(101.0))

"""How much of the classes a linear classifier finds in features: scikit-learn's, and one protocol for all features.

The last sixth of the labelled items chooses how strongly weights are held down; the others are fitted to; the test set
is looked at once. Features share one scale and are not centred, so that what is 0 stays 0. Knows no net.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from training.data import Labels

Floats = NDArray[np.float32]

HOLD_OUT_EVERY = 6
"""One item of so many chooses the strength."""
STRENGTHS = (1e-3, 1e-2, 1e-1)
"""scikit-learn's C: the inverse of the L2 penalty's weight, beside the sum of the losses."""
MAX_ITERATIONS = 60
"""Of L-BFGS for each strength, which starts where the weaker fit before it ended."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`error`: percent of the test items; `strength`: the C that was chosen."""

    error: float
    strength: float


def linear_probe(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> ProbeResult:
    """The error of logistic regression from these features to the classes."""
    unit = float(train.std(0).mean()) or 1.0
    train, test = train / np.float32(unit), test / np.float32(unit)
    fitted = len(train) - len(train) // HOLD_OUT_EVERY
    classifier = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    found: list[tuple[float, float, float]] = []
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the strongest penalty that does well is wanted
            classifier.set_params(C=strength).fit(train[:fitted], train_labels[:fitted])
        held = _error(classifier, train[fitted:], train_labels[fitted:])
        found.append((held, -strength, _error(classifier, test, test_labels)))  # of equals the weaker penalty
    _, weak, error = min(found)
    return ProbeResult(error, -weak)


def _error(classifier: LogisticRegression, features: Floats, labels: Labels) -> float:
    return 100 * float(np.mean(classifier.predict(features) != labels))

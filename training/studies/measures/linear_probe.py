"""Linear probes: the error of logistic regression (scikit-learn) from features to classes.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016). There are two protocols.
`linear_probe` chooses the strength of the L2 penalty on held-out items; `fixed_linear_probe` does not, which suits
studies with many or small fits. Both scale features by one number and do not centre them, so that zeros stay zeros.
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
"""The last 1 / HOLD_OUT_EVERY of the labelled items chooses the strength of the penalty."""
STRENGTHS = (1e-3, 1e-2, 1e-1)
"""Values of scikit-learn's C to choose from, the inverse weight of the L2 penalty."""
MAX_ITERATIONS = 60
"""Iterations of L-BFGS for each value of C. Each fit starts from the weights of the one before."""
FIXED_STRENGTH, FIXED_ITERATIONS, FIXED_TOLERANCE = 0.1, 300, 1e-3
"""Arguments C, max_iter and tol of scikit-learn for `fixed_linear_probe`."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of a linear probe."""

    error: float
    """Percentage of the test items that are misclassified."""
    strength: float
    """The value of C that was chosen."""


def fixed_linear_probe(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> float:
    """Return the fraction of test items that a probe with the fixed penalty FIXED_STRENGTH misclassifies.

    Features are float32 (N, features), labels int64 (N,). Features are divided by their common standard deviation.
    """
    unit = max(float(train.std()), 1e-12)
    classifier = LogisticRegression(C=FIXED_STRENGTH, max_iter=FIXED_ITERATIONS, tol=FIXED_TOLERANCE)
    return 1 - float(classifier.fit(train / unit, train_labels).score(test / unit, test_labels))


def linear_probe(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> ProbeResult:
    """Return the test error of a probe whose penalty is chosen on held-out training items.

    Features are float32 (N, features), labels int64 (N,). Features are divided by their mean standard deviation. Of
    equal errors on the held-out items, the weaker penalty is chosen.
    """
    unit = float(train.std(0).mean()) or 1.0
    train, test = train / np.float32(unit), test / np.float32(unit)
    fitted = len(train) - len(train) // HOLD_OUT_EVERY
    classifier = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    candidates: list[tuple[float, float, float]] = []
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # MAX_ITERATIONS ends most fits before they converge
            classifier.set_params(C=strength).fit(train[:fitted], train_labels[:fitted])
        held = _error(classifier, train[fitted:], train_labels[fitted:])
        candidates.append((held, -strength, _error(classifier, test, test_labels)))
    _, negative_strength, error = min(candidates)
    return ProbeResult(error, -negative_strength)


def _error(classifier: LogisticRegression, features: Floats, labels: Labels) -> float:
    """Return the percentage of misclassified items."""
    return 100 * float(np.mean(classifier.predict(features) != labels))

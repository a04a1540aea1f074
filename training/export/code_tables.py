"""Counts the tables of probabilities of integer codes, by which the service's range coder encodes them."""

import numpy as np
import torch
from numpy.typing import NDArray

from service.codec.range_coder import Probabilities, RangeCoder, Symbols
from training.data import Items
from training.evaluation.metrics import MAX_BATCH_ITEMS
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.nets.compressive import Compressive

PSEUDOCOUNT, LAPLACE_WEIGHT = 0.02, 20.0
"""Counts added to the tables: PSEUDOCOUNT per value, and LAPLACE_WEIGHT in all, distributed as the Laplace distribution
that fits the unit. They smooth the counts of few training codes."""
MAX_COUNTED_ITEMS = 60000
"""Training items whose codes are counted for the tables of a model."""
RANGE_FACTOR = 2
"""Ratio of the largest symbol of the tables to the largest symbol of the training codes."""


def count_tables(training: Symbols) -> Probabilities:
    """Count training codes int32 (N, units); returns the probabilities float32 (units, values) of -largest..largest."""
    largest = RANGE_FACTOR * int(np.abs(training).max(initial=0)) + 1
    counts = np.stack([_smoothed_counts(unit, largest) for unit in np.ascontiguousarray(training.T)])
    return (counts / counts.sum(1, keepdims=True)).astype(np.float32)


def fit_range_coder(training: Symbols) -> RangeCoder:
    """Return a range coder whose tables are counted on training codes int32 (N, units)."""
    return RangeCoder(count_tables(training))


@torch.no_grad()
def code_tables(net: Autoencoder, train: Items) -> Probabilities | None:
    """Return the tables of a compressive net, counted on training items; None for nets of other families."""
    if not isinstance(net, Compressive):
        return None
    rows = as_tensor(train[:MAX_COUNTED_ITEMS]).split(MAX_BATCH_ITEMS)
    codes = torch.cat([net.encode(to_float(chunk)) for chunk in rows])
    return count_tables(codes.numpy().astype(np.int32))


def _smoothed_counts(unit: Symbols, largest: int) -> NDArray[np.float64]:
    """Return the smoothed count of each value -largest..largest of a unit, (2 * largest + 1,)."""
    values = np.arange(-largest, largest + 1)
    # Maximum-likelihood Laplace distribution: its centre is the median, its scale the mean absolute deviation.
    centre = np.median(unit)
    laplace = np.exp(-np.abs(values - centre) / max(np.abs(unit - centre).mean(), 1 / (len(unit) + 1)))
    counts = np.bincount(unit + largest, minlength=len(values))
    return counts + PSEUDOCOUNT + LAPLACE_WEIGHT * laplace / laplace.sum()

"""Rounds the weights of convolutions to integers of few bits, so that their outputs change little.

GPTQ: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (ICLR 2023),
after Hassibi and Stork, "Optimal Brain Surgeon" (1993).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.export.int8_graph import Int8Weights

Array = NDArray[Any]

DAMPING = 0.01
"""What is added to the diagonal of the moments, as a share of its mean, so that they can be inverted (as in GPTQ)."""


def round_weights(weights: Array, moments: Array, bits: int) -> Int8Weights:
    """Round weights (out, in, height, width), one after the other, each to the nearest level of its output channel.

    The weights of the channel that are not yet rounded make up for the error of each, as far as the inputs are
    correlated. Inputs such as neighboring pixels are nearly equal: rounded without regard to the others, weights of 7
    bits lost as much as 0.6 dB.

    Args:
        weights: float32 (out, in, height, width).
        moments: the mean products (K, K) of any two of the K = in * height * width inputs of one output.
        bits: the bits of the levels, at most 8: levels are -(2 ** (bits - 1) - 1) to 2 ** (bits - 1) - 1.
    """
    limit = 2 ** (bits - 1) - 1
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    steps = (np.where(largest > 0, largest, 1) / limit).astype(np.float32)
    damped = moments + (DAMPING * np.trace(moments) / len(moments) + 1e-12) * np.eye(len(moments))
    # Row k has the corrections of the weights after k for an error of weight k.
    corrections = np.linalg.cholesky(np.linalg.inv(damped)).T
    levels = np.zeros_like(rows)
    for index, row in enumerate(corrections):
        levels[:, index] = np.clip(np.rint(rows[:, index] / steps), -limit, limit)
        errors = (rows[:, index] - levels[:, index] * steps) / row[index]
        rows[:, index:] -= np.outer(errors, row[index:])
    return Int8Weights(levels.reshape(weights.shape).astype(np.int8), steps)

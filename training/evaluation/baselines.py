"""Classical methods to stand beside a net: fitted on flat float items (N, features), asked for flat float items.

Each is made by one function; its answers are judged like a net's, as 8-bit pictures. No torch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

Floats = NDArray[np.float32]
Method = Callable[[Floats], Floats]

MAX_FEATURES = 4096
"""Above this the covariances no longer fit; PCA and LMMSE are left out."""
GAUSSIAN_SIGMA = 0.8
"""Pixels."""


def mean_item(train: Floats) -> Method:
    """The mean of the training set, whatever the input: an empty code."""
    mean = train.mean(0, dtype=np.float64).astype(np.float32)
    return lambda items: np.broadcast_to(mean, items.shape)


def pca(train: Floats, components: int) -> Method:
    """The projection on the `components` directions of largest variance: the best linear code of that size."""
    mean = train.mean(0, dtype=np.float64)
    _, directions = np.linalg.eigh(_chunked_matmul(train, train) / len(train) - np.outer(mean, mean))
    kept = directions[:, ::-1][:, :components]
    return _affine(kept @ kept.T, mean - mean @ kept @ kept.T)


def lmmse(noisy: Floats, clean: Floats) -> Method:
    """The affine map from noisy to clean of least squared error, fitted on pairs."""
    mean, target = noisy.mean(0, dtype=np.float64), clean.mean(0, dtype=np.float64)
    covariance = _chunked_matmul(noisy, noisy) / len(noisy) - np.outer(mean, mean)
    shared = _chunked_matmul(noisy, clean) / len(noisy) - np.outer(mean, target)
    # A pixel that never varies has no variance to divide by: the least squares of least norm leave it out.
    weights = np.linalg.lstsq(covariance, shared, rcond=1e-9)[0].astype(np.float64)
    return _affine(weights, target - mean @ weights)


def median(height: int, width: int, channels: int) -> Method:
    """The median of each pixel's 3x3 neighbours."""
    return _image_filter(lambda items: median_filter(items, size=(1, 3, 3, 1)), (height, width, channels))


def gaussian(height: int, width: int, channels: int) -> Method:
    """A Gaussian blur of GAUSSIAN_SIGMA pixels."""
    spread = (0, GAUSSIAN_SIGMA, GAUSSIAN_SIGMA, 0)
    return _image_filter(lambda items: gaussian_filter(items, spread), (height, width, channels))


def _image_filter(apply: Callable[[Floats], Any], shape: tuple[int, int, int]) -> Method:
    return lambda items: np.asarray(apply(items.reshape(-1, *shape)), np.float32).reshape(items.shape)


def _affine(weights: NDArray[np.float64], offset: NDArray[np.float64]) -> Method:
    return lambda items: (items @ weights + offset).astype(np.float32)


def _chunked_matmul(left: Floats, right: Floats) -> NDArray[np.float64]:
    """left.T @ right in float64, by chunks: the whole in float64 would double the data set."""
    total = np.zeros((left.shape[1], right.shape[1]))
    for start in range(0, len(left), 8192):
        total += left[start : start + 8192].astype(np.float64).T @ right[start : start + 8192].astype(np.float64)
    return total

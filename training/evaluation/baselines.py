"""Classical baselines to compare a net with, in NumPy and SciPy.

Each function fits a method, if it needs fitting, and returns it as a function on float32 (N, features), images in 0..1.
The outputs are not clipped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

Floats = NDArray[np.float32]
Method = Callable[[Floats], Floats]

MAX_FEATURES = 4096
"""Number of features above which PCA and LMMSE are left out, because their covariances take too much memory."""
GAUSSIAN_SIGMA = 0.8
"""Standard deviation of the Gaussian filter in pixels."""


def mean_item(train: Floats) -> Method:
    """Return the method that outputs the mean of `train`, float32 (N, features), whatever the input: an empty code."""
    mean = train.mean(0, dtype=np.float64).astype(np.float32)
    return lambda items: np.broadcast_to(mean, items.shape)


def pca(train: Floats, components: int) -> Method:
    """Return the reconstruction by principal component analysis: the best linear code of `components` numbers.

    Its directions are the eigenvectors with the largest eigenvalues of the covariance of `train`, float32 (N, F).
    """
    mean = train.mean(0, dtype=np.float64)
    _, directions = np.linalg.eigh(_chunked_matmul(train, train) / len(train) - np.outer(mean, mean))
    principal = directions[:, ::-1][:, :components]  # eigh sorts the eigenvalues in ascending order
    # x -> mean + (x - mean) P P^T as an affine map of x.
    return _affine(principal @ principal.T, mean - mean @ principal @ principal.T)


def lmmse(noisy: Floats, clean: Floats) -> Method:
    """Return the affine map from noisy to clean items with the least mean squared error (the linear MMSE estimator).

    It is fitted on pairs, float32 (N, features) both: x -> E[y] + (x - E[x]) C_xx^-1 C_xy (Kay 1993, chapter 12).
    """
    noisy_mean, clean_mean = noisy.mean(0, dtype=np.float64), clean.mean(0, dtype=np.float64)
    covariance = _chunked_matmul(noisy, noisy) / len(noisy) - np.outer(noisy_mean, noisy_mean)
    cross_covariance = _chunked_matmul(noisy, clean) / len(noisy) - np.outer(noisy_mean, clean_mean)
    # C_xx is singular if a pixel never varies: the least-squares solution of minimum norm ignores that pixel.
    weights = np.linalg.lstsq(covariance, cross_covariance, rcond=1e-9)[0].astype(np.float64)
    return _affine(weights, clean_mean - noisy_mean @ weights)


def median(height: int, width: int, channels: int) -> Method:
    """Return the median filter over 3x3 pixels of each channel, on flattened (N, height * width * channels)."""
    return _image_filter(lambda items: median_filter(items, size=(1, 3, 3, 1)), (height, width, channels))


def gaussian(height: int, width: int, channels: int) -> Method:
    """Return the Gaussian filter with GAUSSIAN_SIGMA, on flattened (N, height * width * channels)."""
    sigma = (0, GAUSSIAN_SIGMA, GAUSSIAN_SIGMA, 0)
    return _image_filter(lambda items: gaussian_filter(items, sigma), (height, width, channels))


def _image_filter(apply: Callable[[Floats], Any], shape: tuple[int, int, int]) -> Method:
    return lambda items: np.asarray(apply(items.reshape(-1, *shape)), np.float32).reshape(items.shape)


def _affine(weights: NDArray[np.float64], offset: NDArray[np.float64]) -> Method:
    return lambda items: (items @ weights + offset).astype(np.float32)


def _chunked_matmul(left: Floats, right: Floats) -> NDArray[np.float64]:
    """Return left.T @ right in float64, in chunks that avoid a float64 copy of the whole data set."""
    total = np.zeros((left.shape[1], right.shape[1]))
    for start in range(0, len(left), 8192):
        total += left[start : start + 8192].astype(np.float64).T @ right[start : start + 8192].astype(np.float64)
    return total

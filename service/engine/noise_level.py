"""Estimates the noise level of an image without a reference image.

The method is that of Chen, Zhu and Heng, "An Efficient Statistical Method for Image Noise Level Estimation" (ICCV
2015). Patches of a photograph lie close to a subspace of few dimensions, but noise has the same variance in all
dimensions. So the smallest eigenvalues of the covariance matrix of the patches are the variance of the noise.
"""

import numpy as np

from service.types import Array

# Side of a patch in pixels, by channels: the value of the paper for RGB, and about as many numbers for grey.
PATCH_SIDES = {1: 12, 3: 7}
MAX_PATCHES = 30_000  # more patches do not improve the estimate
GREY_CHECK_STRIDE = 7  # step in pixels between the pixels whose channels are compared
MIN_PATCHES_PER_DIMENSION = 10  # with fewer patches the eigenvalues spread by chance


def estimate_sigma(image: Array, visible: Array | None = None) -> float | None:
    """Return the standard deviation of white Gaussian noise in an image, on the 0..1 scale.

    `image` is uint8 H,W,C with 1 or 3 channels. If its three channels are equal, only one of them is used. Only patches
    are used of which all pixels are `visible` (bool H,W). Return None if there are too few patches.
    """
    sample = image[::GREY_CHECK_STRIDE, ::GREY_CHECK_STRIDE]
    is_grey = (sample == sample[:, :, :1]).all()
    channels = 1 if is_grey else image.shape[2]
    side = PATCH_SIDES[channels]
    rows = image.shape[0] - side + 1
    columns = image.shape[1] - side + 1
    size = side * side * channels
    if min(rows, columns) < 1 or rows * columns < MIN_PATCHES_PER_DIMENSION * size:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(image[:, :, :channels], (side, side), axis=(0, 1))
    if visible is None:
        step = int(np.ceil(np.sqrt(rows * columns / MAX_PATCHES)))
        selected = windows[::step, ::step]
    else:
        places = np.flatnonzero(_all_in_windows(visible, side))
        if len(places) < MIN_PATCHES_PER_DIMENSION * size:
            return None
        places = places[:: int(np.ceil(len(places) / MAX_PATCHES))]
        selected = windows[places // columns, places % columns]
    patches = selected.reshape(-1, size).astype(np.float32)
    patches -= patches.mean(0)
    eigenvalues = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    return float(np.sqrt(max(_noise_variance(eigenvalues), 0.0)) / 255)


def mean_sigma(variances: Array, stride: int, visible: Array | None = None) -> float:
    """Return the standard deviation of the noise of an image, on the 0..1 scale, from the variances of its cells.

    `variances` is float32 (h, w), one cell for `stride` x `stride` pixels. If some pixels are not `visible`
    (bool H,W), cells whose first pixel is not are left out, unless that leaves none.
    """
    if visible is not None and (cells := visible[::stride, ::stride]).any():
        variances = variances[cells]
    return float(np.sqrt(max(variances.mean(dtype=np.float64), 0.0)))


def _all_in_windows(mask: Array, side: int) -> Array:
    """Return, for each position of a square window of `side` pixels in a bool H,W, whether all its pixels are true."""
    sums = np.pad(np.cumsum(np.cumsum(~mask, axis=0, dtype=np.int32), axis=1, dtype=np.int32), ((1, 0), (1, 0)))
    return sums[side:, side:] - sums[side:, :-side] - sums[:-side, side:] + sums[:-side, :-side] == 0


def _noise_variance(eigenvalues: Array) -> float:
    """Return the variance of the noise, from the eigenvalues in ascending order.

    It is the mean of the smallest eigenvalues. Their number is the largest for which the mean is not above the median.
    """
    for count in range(len(eigenvalues), 1, -1):
        smallest = eigenvalues[:count]
        mean = smallest.mean()
        if np.count_nonzero(smallest > mean) >= np.count_nonzero(smallest < mean):
            return float(mean)
    return float(eigenvalues[0])

"""How noisy a picture is, from the picture alone: Chen, Zhu and Heng, "An Efficient Statistical Method for Image Noise
Level Estimation" (ICCV 2015). Knows arrays.

Patches of a photograph lie in few dimensions, noise lies in all of them alike: the least variances along the patches'
principal axes are the noise's own.
"""

import numpy as np

from service.types import Array

PATCH_SIDES = {
    1: 12,
    3: 7,
}  # pixels of a patch by channels: as the authors have it for colour, as many numbers for grey
MAX_PATCHES = 30_000  # patches that are looked at; more say the same
GREY_CHECK_STRIDE = 7  # pixels between those that are asked whether their channels are alike
MIN_PATCHES_PER_DIMENSION = 10  # patches for every dimension: below that chance spreads the variances


def estimate_sigma(picture: Array) -> float | None:
    """The standard deviation of white normal noise in a picture uint8 H,W,C, on the 0..1 scale.

    Of a colour picture whose channels are all alike one is looked at. None where it is too small to tell.
    """
    channels = (
        1
        if (
            picture[::GREY_CHECK_STRIDE, ::GREY_CHECK_STRIDE] == picture[::GREY_CHECK_STRIDE, ::GREY_CHECK_STRIDE, :1]
        ).all()
        else picture.shape[2]
    )
    side = PATCH_SIDES[channels]
    height, width = picture.shape[:2]
    rows, columns, size = height - side + 1, width - side + 1, side * side * channels
    if min(rows, columns) < 1 or rows * columns < MIN_PATCHES_PER_DIMENSION * size:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(picture[:, :, :channels], (side, side), axis=(0, 1))
    step = int(np.ceil(np.sqrt(rows * columns / MAX_PATCHES)))
    patches = windows[::step, ::step].reshape(-1, size).astype(np.float32)
    patches -= patches.mean(0)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    return float(np.sqrt(max(_noise_variance(variances), 0.0)) / 255)


def _noise_variance(variances: Array) -> float:
    """The mean of the least variances (rising), as many as have their mean for their median."""
    for count in range(len(variances), 1, -1):
        least = variances[:count]
        mean = least.mean()
        if np.count_nonzero(least > mean) >= np.count_nonzero(least < mean):
            return float(mean)
    return float(variances[0])

"""Denoisers that need no training here, for float pictures (H, W, C) in 0..1 with 1 or 3 channels.

Filters come with SciPy. The other methods are optional packages: scikit-image, OpenCV, BM3D (bm3d, licensed for
research only) and Intel's Open Image Denoise (pyoidn), a trained net for rendered pictures. They are slow, so that
studies apply them to a subset of the pictures and cache the results in a file.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

from training import atomic_files
from training.evaluation.metrics import to_uint8
from training.imaging.colour import linear_to_srgb, srgb_to_linear

Floats = NDArray[np.floating]
Method = Callable[[Floats, float], Floats]
"""Function of a noisy picture (H, W, C) and the standard deviation of its noise that returns the denoised picture."""

GAUSSIAN_SIGMAS = (0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
"""Standard deviations of the Gaussian filter in pixels. The best one for a noise level is reported."""
MEDIAN_SIDES = (3, 5)
"""Sides of the median filter's square in pixels. The best one for a noise level is reported."""
VARIATION_WEIGHTS = (0.01, 0.02, 0.05, 0.1)
"""Weights of the total variation. The best one for a noise level is reported."""


def fast() -> dict[str, Method]:
    """Return Gaussian and median filters of all sizes. They ignore the noise level."""
    blurs = {f"gaussian {spread:g}": _gaussian(spread) for spread in GAUSSIAN_SIGMAS}
    return blurs | {f"median {side}x{side}": _median(side) for side in MEDIAN_SIDES}


def slow() -> dict[str, Method]:
    """Return the methods of the optional packages that are installed; none without scikit-image, whose estimate of the
    noise level they need where it is unknown."""
    if not find_spec("skimage"):
        return {}
    methods: dict[str, Method] = {"non-local means": _non_local_means, "wavelet": _wavelet}
    methods |= {f"total variation {weight:g}": _total_variation(weight) for weight in VARIATION_WEIGHTS}
    if find_spec("cv2"):
        methods["OpenCV"] = _opencv
    if find_spec("pyoidn"):
        methods["Open Image Denoise"] = _open_image_denoise
    if find_spec("bm3d"):
        methods["BM3D"] = _bm3d
    return methods


def estimate_sigma(noisy: Floats) -> float:
    """Estimate the standard deviation of the noise from the finest wavelets (Donoho and Johnstone, Biometrika 1994).

    The estimate assumes white noise, as the methods that use it do. It is 0 without scikit-image.
    """
    if not find_spec("skimage"):
        return 0.0
    restoration: Any = import_module("skimage.restoration")
    return float(restoration.estimate_sigma(noisy, channel_axis=2, average_sigmas=True))


class ResultCache:
    """Cache of scores by name in a JSON file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, name: str, compute: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        """Return the scores stored as `name`; if there are none, compute them and write the file."""
        if name not in self._values:
            self._values[name] = dict(compute())
            self._file.parent.mkdir(parents=True, exist_ok=True)
            atomic_files.write_atomic(self._file, json.dumps(self._values, indent=0).encode())
        return self._values[name]


def _gaussian(spread: float) -> Method:
    """Return a Gaussian filter with a standard deviation of `spread` pixels."""
    return lambda noisy, _: gaussian_filter(noisy, (spread, spread, 0), mode="reflect")


def _median(side: int) -> Method:
    """Return a median filter over squares of `side` pixels."""
    return lambda noisy, _: median_filter(noisy, (side, side, 1), mode="reflect")


def _non_local_means(noisy: Floats, sigma: float) -> Floats:
    """Apply non-local means (Buades, Coll and Morel, CVPR 2005) with the strength that scikit-image recommends."""
    restoration: Any = import_module("skimage.restoration")
    options = {"patch_size": 7, "patch_distance": 10, "h": 0.6 * sigma, "sigma": sigma, "fast_mode": True}
    if noisy.shape[2] == 1:
        return np.asarray(restoration.denoise_nl_means(noisy[:, :, 0], **options))[:, :, np.newaxis]
    return np.asarray(restoration.denoise_nl_means(noisy, **options, channel_axis=2))


def _wavelet(noisy: Floats, sigma: float) -> Floats:
    """Shrink wavelet coefficients (BayesShrink, Chang, Yu and Vetterli, TIP 2000), of colour pictures in YCbCr."""
    restoration: Any = import_module("skimage.restoration")
    colour = noisy.shape[2] == 3
    options = {"method": "BayesShrink", "rescale_sigma": True, "convert2ycbcr": colour, "channel_axis": 2}
    return np.asarray(restoration.denoise_wavelet(noisy, sigma=sigma, **options))


def _total_variation(weight: float) -> Method:
    """Return the minimization of the total variation (Chambolle, JMIV 2004) with a weight."""

    def denoise(noisy: Floats, _: float) -> Floats:
        restoration: Any = import_module("skimage.restoration")
        return np.asarray(restoration.denoise_tv_chambolle(noisy, weight=weight, channel_axis=2))

    return denoise


def _opencv(noisy: Floats, sigma: float) -> Floats:
    """Apply OpenCV's non-local means, whose strength is the standard deviation of the noise in grey levels."""
    library: Any = import_module("cv2")
    level = float(255 * sigma)
    if noisy.shape[2] == 1:
        return library.fastNlMeansDenoising(to_uint8(noisy[:, :, 0]), None, h=level)[:, :, np.newaxis] / 255
    return library.fastNlMeansDenoisingColored(to_uint8(noisy), None, h=level, hColor=level) / 255


def _open_image_denoise(noisy: Floats, _: float) -> Floats:
    """Apply Open Image Denoise in its mode for pictures of low dynamic range, which takes linear light."""
    library: Any = import_module("pyoidn")
    colour = np.repeat(noisy, 3 // noisy.shape[2], axis=2).clip(0, 1).astype(np.float32)
    denoised = library.denoise(srgb_to_linear(torch.from_numpy(colour)).numpy())
    restored = linear_to_srgb(torch.from_numpy(denoised)).numpy()
    return restored if noisy.shape[2] == 3 else restored.mean(axis=2, keepdims=True)


def _bm3d(noisy: Floats, sigma: float) -> Floats:
    """Apply BM3D (Dabov, Foi, Katkovnik and Egiazarian, TIP 2007); colour pictures are matched by their luma."""
    library: Any = import_module("bm3d")
    if noisy.shape[2] == 1:
        return np.asarray(library.bm3d(noisy[:, :, 0], sigma))[:, :, np.newaxis]
    return np.asarray(library.bm3d_rgb(noisy, sigma))

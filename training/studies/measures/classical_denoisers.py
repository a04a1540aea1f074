"""Classical denoisers for noise of a known level: float pictures (H, W, C) in 0..1 with 1 or 3 channels.

Non-local means (scikit-image) and BM3D (bm3d, licensed for research only) are optional packages. They are slow, so
that studies apply them to a subset of the pictures and cache the results in a file.
"""

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

from training import atomic_files

Floats = NDArray[np.floating]
Method = Callable[[Floats, float], Floats]
"""Function of a noisy picture (H, W, C) and the standard deviation of its noise that returns the denoised picture."""

GAUSSIAN_SIGMAS = (0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
"""Standard deviations of the Gaussian filter in pixels. The best one for a noise level is reported."""
MEDIAN_SIDES = (3, 5)
"""Sides of the median filter's square in pixels. The best one for a noise level is reported."""


def fast() -> dict[str, Method]:
    """Return Gaussian and median filters of all sizes. They ignore the noise level."""
    blurs = {f"gaussian {spread:g}": _gaussian(spread) for spread in GAUSSIAN_SIGMAS}
    return blurs | {f"median {side}x{side}": _median(side) for side in MEDIAN_SIDES}


def slow() -> dict[str, Method]:
    """Return non-local means and BM3D as far as their packages are installed. Both use the noise level."""
    methods: dict[str, Method] = {}
    if find_spec("skimage"):
        methods["non-local means"] = _non_local_means
    if find_spec("bm3d"):
        methods["BM3D"] = _bm3d
    return methods


class ResultCache:
    """Cache of numbers by name in a JSON file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, name: str, compute: Callable[[], float]) -> float:
        """Return the number stored as `name`; if there is none, compute it and write the file."""
        if name not in self._values:
            self._values[name] = compute()
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


def _bm3d(noisy: Floats, sigma: float) -> Floats:
    """Apply BM3D (Dabov, Foi, Katkovnik and Egiazarian, TIP 2007); colour pictures are matched by their luma."""
    library: Any = import_module("bm3d")
    if noisy.shape[2] == 1:
        return np.asarray(library.bm3d(noisy[:, :, 0], sigma))[:, :, np.newaxis]
    return np.asarray(library.bm3d_rgb(noisy, sigma))

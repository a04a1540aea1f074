"""Classical methods against noise of a known level, one picture at a time: float H,W,C in 0..1, C 1 or 3.

Non-local means and BM3D are others' code, used where it is installed (scikit-image; bm3d, whose licence is for
research); what they cost is why only some pictures are given to them. Answers are remembered in a file.
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
"""From a noisy picture and its standard deviation to a clean one."""

GAUSSIAN_SIGMAS = (0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
"""Of the Gaussian, in pixels; the best of a level is told."""
MEDIAN_SIDES = (3, 5)
"""Of the median's square; likewise."""


def fast() -> dict[str, Method]:
    """Filters whose one number does not depend on the noise: every choice of it."""
    blurs = {f"gaussian {spread:g}": _gaussian(spread) for spread in GAUSSIAN_SIGMAS}
    return blurs | {f"median {side}x{side}": _median(side) for side in MEDIAN_SIDES}


def slow() -> dict[str, Method]:
    """What is installed of the two that look for likenesses all over a picture; both are told the level."""
    found: dict[str, Method] = {}
    if find_spec("skimage"):
        found["non-local means"] = _non_local_means
    if find_spec("bm3d"):
        found["BM3D"] = _bm3d
    return found


class ResultCache:
    """Numbers by name in a file, so that what took long is not done again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, name: str, compute: Callable[[], float]) -> float:
        """The number of that name; worked out, and written down at once, where it is new."""
        if name not in self._values:
            self._values[name] = compute()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            atomic_files.write_atomic(self._file, json.dumps(self._values, indent=0).encode())
        return self._values[name]


def _gaussian(spread: float) -> Method:
    return lambda noisy, _: gaussian_filter(noisy, (spread, spread, 0), mode="reflect")


def _median(side: int) -> Method:
    return lambda noisy, _: median_filter(noisy, (side, side, 1), mode="reflect")


def _non_local_means(noisy: Floats, sigma: float) -> Floats:
    """Buades, Coll and Morel 2005, by scikit-image, with the strength that its documentation gives."""
    restoration: Any = import_module("skimage.restoration")
    options = {"patch_size": 7, "patch_distance": 10, "h": 0.6 * sigma, "sigma": sigma, "fast_mode": True}
    if noisy.shape[2] == 1:
        return np.asarray(restoration.denoise_nl_means(noisy[:, :, 0], **options))[:, :, np.newaxis]
    return np.asarray(restoration.denoise_nl_means(noisy, **options, channel_axis=2))


def _bm3d(noisy: Floats, sigma: float) -> Floats:
    """Dabov, Foi, Katkovnik and Egiazarian 2007, by its authors; of colour the version that groups by luma."""
    library: Any = import_module("bm3d")
    if noisy.shape[2] == 1:
        return np.asarray(library.bm3d(noisy[:, :, 0], sigma))[:, :, np.newaxis]
    return np.asarray(library.bm3d_rgb(noisy, sigma))

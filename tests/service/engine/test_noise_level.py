"""The noise estimate: it recovers the added noise, in colour and grey; small pictures have none."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from service.engine import noise_level

Pixels = NDArray[np.uint8]


def scene(channels: int, sigma: float) -> Pixels:
    """Return smooth shapes with some edges, far from black and white, with Gaussian noise; `sigma` in 0..255."""
    random = np.random.default_rng(3)
    soft = gaussian_filter(random.normal(size=(240, 320, channels)), (12, 12, 0))
    shapes = 128 + 40 * soft / soft.std() + 30 * (gaussian_filter(random.normal(size=(240, 320, 1)), (9, 9, 0)) > 0)
    noisy = np.clip(shapes, 60, 190) + random.normal(0, sigma, (240, 320, channels))
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [3.0, 10.0, 25.0])
def test_estimate_recovers_the_noise_level(channels: int, sigma: float) -> None:
    estimate = noise_level.estimate_sigma(scene(channels, sigma))
    assert estimate == pytest.approx(sigma / 255, rel=0.1, abs=1 / 255)


def test_estimate_of_grey_in_three_channels_is_that_of_grey() -> None:
    grey = scene(1, 10.0)
    assert noise_level.estimate_sigma(np.repeat(grey, 3, axis=2)) == noise_level.estimate_sigma(grey)


def test_flat_picture_has_no_noise() -> None:
    assert noise_level.estimate_sigma(np.full((64, 64, 3), 255, np.uint8)) == 0.0


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 900, 3), (30, 30, 3), (40, 40, 1)])
def test_too_small_picture_has_no_estimate(shape: tuple[int, ...]) -> None:
    assert noise_level.estimate_sigma(np.zeros(shape, np.uint8)) is None

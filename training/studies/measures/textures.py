"""Generated textures with drawn scratches and stains of known place, to measure the detection of defects with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.data import Pixels

SIDE = 64
PERIODS = 7.0, 9.0
"""Range of the period of the weave, in pixels."""
CONTRAST = 40.0, 80.0
"""Range of the difference between a defect and its surroundings, in grey levels."""


@dataclass(frozen=True, slots=True)
class Textures:
    """Textures uint8 (N, SIDE, SIDE, 1), and the pixels of their defects, bool (N, SIDE, SIDE)."""

    images: Pixels
    defects: NDArray[np.bool_]


def draw_textures(count: int, seed: int, *, damaged: bool = False) -> Textures:
    """Draw woven textures; each damaged one has a scratch (even numbers) or a stain (odd numbers)."""
    random = np.random.default_rng(seed)
    images = np.empty((count, SIDE, SIDE, 1), np.uint8)
    defects = np.zeros((count, SIDE, SIDE), bool)
    for number in range(count):
        values = _weave(random)
        if damaged:
            weight = _scratch(random) if number % 2 == 0 else _stain(random)
            values += weight * random.uniform(*CONTRAST) * random.choice((-1, 1))
            defects[number] = weight > 0.5
        images[number, :, :, 0] = np.rint(np.clip(values, 0, 255))
    return Textures(images, defects)


def _weave(random: np.random.Generator) -> NDArray[np.float64]:
    """Return two crossing sets of threads with a random phase, period and brightness, and noise."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    period, phases = random.uniform(*PERIODS), random.uniform(0, 2 * np.pi, 2)
    threads = np.sin(2 * np.pi * rows / period + phases[0]) + np.sin(2 * np.pi * columns / period + phases[1])
    grain = gaussian_filter(random.normal(size=(SIDE, SIDE)), 1) * 12
    return random.uniform(110, 145) + 22 * threads + grain + random.normal(scale=3, size=(SIDE, SIDE))


def _scratch(random: np.random.Generator) -> NDArray[np.float64]:
    """Return a straight line of random place, direction, length and width: 1 on it, 0 off it, soft edges."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre, angle = random.uniform(16, 48, 2), random.uniform(0, np.pi)
    along = (columns - centre[1]) * np.cos(angle) + (rows - centre[0]) * np.sin(angle)
    across = (rows - centre[0]) * np.cos(angle) - (columns - centre[1]) * np.sin(angle)
    far = np.maximum(np.abs(across) - random.uniform(0.7, 1.5), np.abs(along) - random.uniform(8, 20))
    return np.clip(0.5 - far, 0, 1)


def _stain(random: np.random.Generator) -> NDArray[np.float64]:
    """Return an ellipse of random place and size: 1 inside, 0 outside, soft edges."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre, radii = random.uniform(12, 52, 2), random.uniform(3, 8, 2)
    radius = np.hypot((rows - centre[0]) / radii[0], (columns - centre[1]) / radii[1])
    return np.clip((1 - radius) * radii.min() / 2 + 0.5, 0, 1)

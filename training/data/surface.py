"""Points on a curved sheet in space, made by a formula: what the lecture reduces from three dimensions to two."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt

from training.data.items import Data, HeldOut, Source, hold_out

COUNT = 2000


class SurfaceSection(Source):
    """A sheet bent upwards along one diagonal of its square, inside the unit cube, with noise around it."""

    name: Literal["surface"]
    noise: NonNegativeFloat = 0.01
    """Standard deviation of the points around the sheet, along each axis."""
    seed: NonNegativeInt = 0
    """Of the points."""
    test: HeldOut = 0.2
    """Share held out as the test set."""

    def read(self, folder: Path | None) -> Data:  # noqa: ARG002 - one signature for all sources
        points = sheet(COUNT, self.noise, self.seed)
        return Data("surface", "CC0-1.0", *hold_out(points, self.test))


def sheet(count: int, noise: float, seed: int) -> NDArray[np.float32]:
    """`count` points (float32 count,3) around z = ((x + y) / 2)^2 over the square 0.1..0.9, raised into the cube."""
    random = np.random.default_rng(seed)
    flat = random.uniform(0.1, 0.9, (count, 2))
    height = 0.1 + 0.8 * np.square(flat.mean(1, keepdims=True))
    points = np.concatenate([flat, height], axis=1) + random.normal(scale=noise, size=(count, 3))
    return points.astype(np.float32)

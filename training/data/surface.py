"""Generates points on a curved sheet in space, which the lecture reduces from three dimensions to two."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from training.data.dataset import DataSection, Dataset, TestFraction, hold_out

POINTS = 2000


class SurfaceSection(DataSection):
    """Noisy points on a part of a cylinder, inside the unit cube."""

    source: Literal["surface"]
    bend: Annotated[float, Field(gt=0, le=90)] = 90
    """Degrees of the cylinder that the sheet covers."""
    noise: NonNegativeFloat = 0.01
    """Standard deviation of the noise along each axis."""
    seed: NonNegativeInt = 0
    """Seed of the points and of their noise."""
    test_fraction: TestFraction = 0.2
    """Fraction of the points that is held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:  # noqa: ARG002 - one signature for all sources
        """Generate the points. `folder` is not used."""
        points = cylinder_points(POINTS, self.bend, self.noise, self.seed)
        return Dataset("surface", "CC0-1.0", *hold_out(points, self.test_fraction))


def cylinder_points(count: int, bend: float, noise: float, seed: int) -> NDArray[np.float32]:
    """Return `count` points, float32 (count, 3), around a cylinder of radius 0.8 whose axis is the line x = z = 0.1.

    The points are distributed uniformly over `bend` degrees of the cylinder and over y in 0.1..0.9.
    """
    random = np.random.default_rng(seed)
    angle, along = random.uniform(0, np.radians(bend), count), random.uniform(0.1, 0.9, count)
    points = np.stack([0.1 + 0.8 * np.cos(angle), along, 0.1 + 0.8 * np.sin(angle)], axis=1)
    return (points + random.normal(scale=noise, size=points.shape)).astype(np.float32)

"""Reads pairs of a noisy and a clean picture of one scene. They choose the best weights and are never trained on."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import PositiveInt, StringConstraints

from training.data.dataset import Pairs, Pixels, locate
from training.data.folder import find_pictures, read_pictures
from training.errors import DataError
from training.schema import RecipeTable

Ending = Annotated[str, StringConstraints(min_length=1)]


class PairsSection(RecipeTable):
    """The `[data.pairs]` table: a folder with two pictures of each scene, whose names differ in their ends."""

    path: str
    """Path of the folder, relative to the data folder (`--data`) or else to the current folder."""
    noisy: Ending = "_noisy"
    """End of the name of a noisy picture, before its suffix."""
    clean: Ending = "_clean"
    """End of the name of a clean picture, before its suffix."""
    part: Literal["all", "odd", "even"] = "all"
    """Which pairs to use, in order of their names and counted from 1. The other half can then measure the result."""
    side: PositiveInt = 256
    """Side in pixels of the square that is cut from the middle of each picture."""

    def read(self, folder: Path | None) -> Pairs | None:
        """Read the pairs. Return None if the folder does not exist, because only a fit needs it.

        Raises DataError if the folder contains no pairs, or a noisy picture without a clean one.
        """
        root = locate(folder, self.path)
        if not root.is_dir():
            return None
        noisy = [path for path in find_pictures(root) if path.stem.endswith(self.noisy)]
        if not noisy:
            raise DataError(f"{root} contains no picture whose name ends in {self.noisy}: set data.pairs.noisy")
        start, step = {"all": (0, 1), "odd": (0, 2), "even": (1, 2)}[self.part]
        noisy = noisy[start::step]
        clean = [path.with_stem(path.stem.removesuffix(self.noisy) + self.clean) for path in noisy]
        if missing := [path for path in clean if not path.is_file()]:
            raise DataError(f"{missing[0]} is missing: every noisy picture needs a clean one in the same folder")
        return Pairs(self._middles(noisy), self._middles(clean))

    def _middles(self, paths: list[Path]) -> Pixels:
        return np.stack([middle(pixels, self.side) for pixels in read_pictures(paths, 0.0, colour=True)])


def middle(pixels: Pixels, side: int) -> Pixels:
    """Copy the square of `side` pixels in the middle of a picture (H, W, C). Raises DataError if it is smaller."""
    if min(pixels.shape[:2]) < side:
        raise DataError(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels is smaller than the side {side}")
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side].copy()  # a view would keep the whole picture in memory

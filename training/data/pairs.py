"""Pairs of pictures of the same scene, one noisy and one clean, to choose weights by. Nothing is trained on them."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import PositiveInt, StringConstraints

from training.data.dataset import Pairs, Pixels, locate
from training.data.folder import find_pictures, read_pictures
from training.errors import DataError
from training.schema import StrictModel

Ending = Annotated[str, StringConstraints(min_length=1)]


class PairsSection(StrictModel):
    """The `[data.pairs]` table: a folder with two pictures of each scene, told apart by the ends of their names."""

    path: str
    """Relative to the data folder given, or else to where the command runs."""
    noisy: Ending = "_noisy"
    """End of the name of a noisy picture, before its suffix."""
    clean: Ending = "_clean"
    """End of the name of the clean picture beside it."""
    part: Literal["all", "odd", "even"] = "all"
    """Which pairs are taken in order of their names, counted from 1: what is left can measure the outcome."""
    side: PositiveInt = 256
    """Pixels along the side of the square that is taken from the middle of each picture."""

    def read(self, folder: Path | None) -> Pairs | None:
        """Read the pairs; None where there is no such folder, since only a fit needs it.

        Raises DataError where the folder holds no pairs, or where a picture lacks its other half.
        """
        root = locate(folder, self.path)
        if not root.is_dir():
            return None
        noisy = [path for path in find_pictures(root) if path.stem.endswith(self.noisy)]
        if not noisy:
            raise DataError(f"{root} holds no picture whose name ends in {self.noisy}: set data.pairs.noisy")
        start, step = {"all": (0, 1), "odd": (0, 2), "even": (1, 2)}[self.part]
        noisy = noisy[start::step]
        clean = [path.with_stem(path.stem.removesuffix(self.noisy) + self.clean) for path in noisy]
        if missing := [path for path in clean if not path.is_file()]:
            raise DataError(f"{missing[0]} is missing: a noisy picture needs the clean one beside it")
        return Pairs(self._middles(noisy), self._middles(clean))

    def _middles(self, paths: list[Path]) -> Pixels:
        return np.stack([middle(pixels, self.side) for pixels in read_pictures(paths, 0.0, colour=True)])


def middle(pixels: Pixels, side: int) -> Pixels:
    """Copy the square of `side` pixels in the middle of an image H,W,C. Raises DataError if the image is smaller."""
    if min(pixels.shape[:2]) < side:
        raise DataError(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} holds no square of {side} pixels")
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side].copy()  # a view would keep the whole picture

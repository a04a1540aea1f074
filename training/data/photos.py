"""Cuts photographs of any size into large squares, from which training takes random crops.

The pictures are decoded once into a file of the cache, which is memory-mapped. Unreadable pictures, and those smaller
than a square, are skipped with a warning. Uses no torch.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Len
from pydantic import NonNegativeFloat, PositiveInt

from training import atomic_files
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, held_out_mask, locate
from training.data.downloads import cache_folder
from training.data.folder import find_pictures, read_pictures
from training.data.pairs import PairsSection, middle
from training.errors import DataError
from training.schema import NOT_STATED, Fraction

log = logging.getLogger(__name__)


class PhotosSection(DataSection):
    """Folders of colour pictures, searched recursively. An item is a square of a picture in full resolution."""

    source: Literal["photos"]
    paths: Annotated[list[str], Len(min_length=1)]
    """Paths of the folders, relative to the data folder (`--data`) or else to the current folder."""
    licence: str = NOT_STATED
    """Licence of the pictures."""
    side: PositiveInt = 192
    """Side of a square in pixels. The squares cover every picture evenly, and overlap if its size is no multiple."""
    min_detail: NonNegativeFloat = 0.0
    """Lowest standard deviation of a square's Laplacian, in grey levels. Smoother squares are left out."""
    test_path: str | None = None
    """Folder of the test pictures; without it a fraction of the pictures is held out."""
    test_side: PositiveInt = 320
    """Side in pixels of a test item, the square in the middle of a picture."""
    test_fraction: TestFraction = 0.05
    """Fraction of the pictures that is held out as the test set, without `test_path`."""
    max_broken_fraction: Fraction = 0.01
    """Fraction of the pictures that may be unreadable; these are skipped with a warning."""
    pairs: PairsSection | None = None
    """Pairs of noisy and clean pictures, for `[validation]`."""

    def read(self, folder: Path | None) -> Dataset:
        """Cut the training pictures into squares, and read the test pictures and pairs.

        Raises DataError if no picture is large enough, too many are unreadable, or a test picture is trained on.
        """
        roots = [locate(folder, path) for path in self.paths]
        train = [path for root in roots for path in find_pictures(root)]
        if self.test_path is None:
            held = held_out_mask(len(train), self.test_fraction)
            train, test = list(compress(train, ~held)), list(compress(train, held))
        else:
            test = find_pictures(locate(folder, self.test_path))
            if both := {path.resolve() for path in train} & {path.resolve() for path in test}:
                raise DataError(
                    f"{min(both)} is in data.paths and in data.test_path: remove it from one, because test pictures "
                    "must not be trained on"
                )
        squares = _memmap_squares(train, self)
        middles = [
            middle(pixels, self.test_side) for pixels in _read_large(test, self.max_broken_fraction, self.test_side)
        ]
        if not len(squares) or not middles:
            raise DataError(f"no picture is as large as data.side ({self.side}) and data.test_side ({self.test_side})")
        name = " and ".join(root.name for root in roots)
        pairs = self.pairs.read(folder) if self.pairs else None
        return Dataset(name, self.licence, squares, np.stack(middles), test_name=self.test_path or "", pairs=pairs)


def tile_squares(pixels: Pixels, side: int) -> Pixels:
    """Cut a picture (H, W, C) into the fewest squares that cover it, evenly spaced: (N, side, side, C)."""
    starts = [np.linspace(0, length - side, -(-length // side)).round().astype(int) for length in pixels.shape[:2]]
    return np.stack([pixels[top : top + side, left : left + side] for top in starts[0] for left in starts[1]])


def _memmap_squares(paths: list[Path], section: PhotosSection) -> Pixels:
    """Return the squares of all pictures, memory-mapped from a file of the cache that is written if it is missing."""
    file = cache_folder() / "photos" / f"{_fingerprint(paths, section)}.squares"
    size = section.side**2 * 3
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        log.info("cutting %d pictures into squares, once: %s", len(paths), file)
        tiles = (
            tile_squares(pixels, section.side)
            for pixels in _read_large(paths, section.max_broken_fraction, section.side)
        )
        _write_squares(
            file, (squares[[_laplacian_std(square) >= section.min_detail for square in squares]] for squares in tiles)
        )
    count = file.stat().st_size // size
    if not count:
        return np.empty((0, section.side, section.side, 3), np.uint8)
    # Copy on write, because torch expects writable memory. Nothing writes to it.
    return np.memmap(file, np.uint8, "c", shape=(count, section.side, section.side, 3))


def _laplacian_std(square: Pixels) -> float:
    """Return the standard deviation of the Laplacian of a square (H, W, C), in grey levels."""
    grey = square.mean(2, dtype=np.float32)
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * grey[1:-1, 1:-1] - neighbours).std())


def _fingerprint(paths: list[Path], section: PhotosSection) -> str:
    """Return a fingerprint of the paths, sizes and times of the pictures, and of the options by which they are cut."""
    digest = hashlib.sha256(f"2 {section.side} {section.min_detail}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"\n{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _write_squares(file: Path, batches: Iterable[Pixels]) -> None:
    """Write batches of squares (N, side, side, 3) one after another, without a header, atomically."""
    with atomic_files.open_atomic(file) as out:
        for squares in batches:
            out.write(np.ascontiguousarray(squares).data)


def _read_large(paths: list[Path], broken: float, side: int) -> Iterator[Pixels]:
    """Yield the pictures that are not smaller than a square of `side` pixels, uint8 (H, W, 3)."""
    small = 0
    for pixels in read_pictures(paths, broken, colour=True):
        if min(pixels.shape[:2]) < side:
            small += 1
            continue
        yield pixels
    if small:
        log.warning("%d of %d pictures are skipped: a side is shorter than %d pixels", small, len(paths), side)

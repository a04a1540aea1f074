"""Photographs of any size, cut into large squares that training crops from; decoded once, then mapped from a file.

What cannot be read is named and skipped, as is what is smaller than a square. Knows no torch.
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
    """Folders of pictures, searched through; colour. An item is a square of a picture, in full resolution."""

    source: Literal["photos"]
    paths: Annotated[list[str], Len(min_length=1)]
    """Folders, each relative to the data folder given, or else to where the command runs."""
    licence: str = NOT_STATED
    """Of the pictures."""
    side: PositiveInt = 192
    """Pixels along a square's side. Squares cover every picture evenly, and overlap where they do not fit."""
    min_detail: NonNegativeFloat = 0.0
    """Squares whose Laplacian deviates by fewer grey levels are left out: what is smooth teaches little."""
    test_path: str | None = None
    """A folder of pictures that nothing is trained on, to measure with; without it a share is held out."""
    test_side: PositiveInt = 320
    """Pixels along the side of the square that is measured with, from the middle of a picture."""
    test_fraction: TestFraction = 0.05
    """Share of the pictures that is held out, where there is no validation folder."""
    max_broken_fraction: Fraction = 0.01
    """Share of pictures that may be unreadable; each is named and skipped."""
    pairs: PairsSection | None = None
    """Real noisy pictures with clean ones beside them, for `[validation]`."""

    def read(self, folder: Path | None) -> Dataset:
        roots = [locate(folder, path) for path in self.paths]
        train = [path for root in roots for path in find_pictures(root)]
        if self.test_path is None:
            held = held_out_mask(len(train), self.test_fraction)
            train, test = list(compress(train, ~held)), list(compress(train, held))
        else:
            test = find_pictures(locate(folder, self.test_path))
            if both := {path.resolve() for path in train} & {path.resolve() for path in test}:
                raise DataError(f"{min(both)} is in data.paths and in data.test_path: nothing there may be trained on")
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
    """Squares that cover a picture H,W,C, spread evenly, as few as do: N,side,side,C."""
    starts = [np.linspace(0, length - side, -(-length // side)).round().astype(int) for length in pixels.shape[:2]]
    return np.stack([pixels[top : top + side, left : left + side] for top in starts[0] for left in starts[1]])


def _memmap_squares(paths: list[Path], section: PhotosSection) -> Pixels:
    """The squares of all pictures, mapped from a file in the cache; made first where it is not there."""
    file = cache_folder() / "photos" / f"{_fingerprint(paths, section)}.squares"
    size = section.side**2 * 3
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        log.info("%d pictures are cut into squares, once: %s", len(paths), file)
        squares = (
            tile_squares(pixels, section.side)
            for pixels in _read_large(paths, section.max_broken_fraction, section.side)
        )
        _write_squares(
            file, (some[[_laplacian_std(square) >= section.min_detail for square in some]] for some in squares)
        )
    count = file.stat().st_size // size
    if not count:
        return np.empty((0, section.side, section.side, 3), np.uint8)
    # Copy on write: torch wants what it is given to be writable, and nothing writes.
    return np.memmap(file, np.uint8, "c", shape=(count, section.side, section.side, 3))


def _laplacian_std(square: Pixels) -> float:
    """Standard deviation of the Laplacian, in grey levels."""
    grey = square.mean(2, dtype=np.float32)
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * grey[1:-1, 1:-1] - sides).std())


def _fingerprint(paths: list[Path], section: PhotosSection) -> str:
    """Of where the pictures lie, their sizes and times, and how they are cut."""
    digest = hashlib.sha256(f"2 {section.side} {section.min_detail}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"\n{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _write_squares(file: Path, pieces: Iterable[Pixels]) -> None:
    """All pieces one after the other, without a header; the file is whole or not there."""
    with atomic_files.open_atomic(file) as out:
        for piece in pieces:
            out.write(np.ascontiguousarray(piece).data)


def _read_large(paths: list[Path], broken: float, side: int) -> Iterator[Pixels]:
    """The pictures that hold a square of that side: uint8 H,W,3."""
    small = 0
    for pixels in read_pictures(paths, broken, colour=True):
        if min(pixels.shape[:2]) < side:
            small += 1
            continue
        yield pixels
    if small:
        log.warning("%d of %d pictures are skipped: a side is shorter than %d pixels", small, len(paths), side)

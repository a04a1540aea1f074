"""Reads a folder of pictures, decoded and resized by the rules of the service."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from service.codec import FORMAT_BY_SUFFIX, composite, decode, fit_to_size, list_files
from service.errors import Problem
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, hold_out, locate
from training.errors import DataError
from training.schema import Fraction

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28  # larger than any photograph; only decompression bombs exceed it
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
SUFFIXES = {suffix for suffix, name in FORMAT_BY_SUFFIX.items() if name in FORMATS}


class FolderSection(DataSection):
    """A folder of pictures, searched recursively. Each picture is resized to one size as the service resizes it."""

    source: Literal["folder"]
    path: str
    """Path of the folder, relative to the data folder (`--data`) or else to the current folder."""
    height: PositiveInt
    """Height in pixels to which every picture is resized."""
    width: PositiveInt
    """Width in pixels to which every picture is resized."""
    channels: Literal[1, 3]
    """1 for grey, 3 for colour."""
    licence: str
    """Licence of the pictures."""
    max_broken_fraction: Fraction = 0.01
    """Fraction of the pictures that may be unreadable; these are skipped with a warning."""
    test_fraction: TestFraction = 0.1
    """Fraction of the pictures that is held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
        """Read the pictures. Raises DataError if there are none, too few, or too many that are unreadable."""
        root = locate(folder, self.path)
        return Dataset(root.name, self.licence, *hold_out(read_folder(root, self), self.test_fraction))


def read_folder(root: Path, section: FolderSection) -> Pixels:
    """Return all pictures below `root`, resized to the size of the section: uint8 (N, H, W, C)."""
    pictures = read_pictures(find_pictures(root), section.max_broken_fraction)
    return np.stack([fit_to_size(pixels, section.height, section.width, section.channels) for pixels in pictures])


def find_pictures(root: Path) -> list[Path]:
    """Return the files that are pictures by their names, in order of their paths.

    System files are ignored; empty files and pictures of formats that are not read are left out with a warning. Raises
    DataError if a folder cannot be read, or if there are no pictures.
    """
    files = [path for path in list_files(root, unreadable=_raise_unreadable) if path.is_file()]
    paths = [path for path in files if path.suffix.lower() in SUFFIXES and path.stat().st_size]
    left_out = Counter(path.suffix.lower() for path in files if path.suffix.lower() in FORMAT_BY_SUFFIX)
    left_out -= Counter(path.suffix.lower() for path in paths)
    if left_out:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in left_out.most_common())
        log.warning("%s: left out, because they are empty or of a format that training does not read: %s", root, counts)
    if not paths:
        raise DataError(f"{root} contains no pictures ({', '.join(sorted(SUFFIXES))})")
    return paths


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}")


def read_pictures(paths: Sequence[Path], max_broken_fraction: float, *, colour: bool = False) -> Iterator[Pixels]:
    """Yield pictures one by one, uint8 (H, W, C), composited on black if they are transparent. With `colour`, C is 3.

    Unreadable files are skipped with a warning. Raises DataError at the end if they are a larger fraction than
    `max_broken_fraction`.
    """
    skipped = 0
    for path in paths:
        try:
            picture = decode(path.read_bytes(), formats=FORMATS, max_pixels=MAX_PIXELS)
        except (Problem, OSError) as error:
            log.warning("%s is skipped: %s", path, error)
            skipped += 1
            continue
        pixels = picture.pixels if picture.alpha is None else composite(picture.pixels, picture.alpha, "black")
        yield fit_to_size(pixels, None, None, 3) if colour else pixels
    if skipped > max_broken_fraction * len(paths):
        raise DataError(f"{skipped} of {len(paths)} pictures are unreadable, more than data.max_broken_fraction allows")

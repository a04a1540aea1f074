"""A folder of pictures, decoded and fitted to size by the service's own rules."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from service.codec import composite, decode, fit_to_size
from service.errors import Problem
from service.folders import FORMAT_BY_SUFFIX, list_files
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, hold_out, locate
from training.errors import DataError
from training.schema import Fraction

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28  # a training picture may be large; only a bomb is larger
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
SUFFIXES = {suffix for suffix, name in FORMAT_BY_SUFFIX.items() if name in FORMATS}


class FolderSection(DataSection):
    """A folder of pictures, searched through, each fitted to one size as the service would do it."""

    source: Literal["folder"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    height: PositiveInt
    """Pixels that every picture is resized to."""
    width: PositiveInt
    """Pixels that every picture is resized to."""
    channels: Literal[1, 3]
    """1 for grey, 3 for colour."""
    licence: str
    """Of the pictures."""
    max_broken_fraction: Fraction = 0.01
    """Share of pictures that may be unreadable; each is named and skipped."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
        root = locate(folder, self.path)
        return Dataset(root.name, self.licence, *hold_out(read_folder(root, self), self.test_fraction))


def read_folder(root: Path, section: FolderSection) -> Pixels:
    """All pictures under `root`, fitted to the section's size: uint8 N,H,W,C."""
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
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return paths


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}")


def read_pictures(paths: Sequence[Path], max_broken_fraction: float, *, colour: bool = False) -> Iterator[Pixels]:
    """Pictures one at a time: uint8 H,W,C, without transparency; with `colour` C is 3.

    What cannot be read is named and skipped. Raises DataError, at the end, where that is a larger share than
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
        raise DataError(f"{skipped} of {len(paths)} pictures are broken, more than data.max_broken_fraction allows")

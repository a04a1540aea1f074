"""Reads a folder of pictures, decoded and resized by the rules of the service."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from service.codec import FORMAT_BY_SUFFIX, composite, decode, fit_to_size, list_files
from service.errors import Problem
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, held_out_mask, locate
from training.data.downloads import cache_folder
from training.data.pixel_cache import Reading, cache_items
from training.errors import DataError
from training.schema import NOT_STATED, Fraction

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28  # larger than any photograph; only decompression bombs exceed it
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif", "avif")
SUFFIXES = {suffix for suffix, name in FORMAT_BY_SUFFIX.items() if name in FORMATS}
MAX_MEMORY_BYTES = 256 << 20
"""Maximum size of all pixels that are held in memory. More are memory-mapped from a file of the cache."""


class FolderSection(DataSection):
    """A folder of pictures, searched recursively. Each picture is resized to one size as the service resizes it.

    Copies of a picture are left out, so that no test picture is trained on. Large sets are decoded once into a file
    below `~/.cache/hourglass`, which is memory-mapped. An interrupted decoding continues where it was stopped.
    """

    source: Literal["folder"]
    path: str
    """Path of the folder, relative to the data folder (`--data`) or else to the current folder."""
    height: PositiveInt = 64
    """Height in pixels to which every picture is resized."""
    width: PositiveInt = 64
    """Width in pixels to which every picture is resized."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    licence: str = NOT_STATED
    """Licence of the pictures."""
    max_broken_fraction: Fraction = 0.01
    """Fraction of the pictures that may be unreadable; these are skipped with a warning."""
    test_fraction: TestFraction = 0.1
    """Fraction of the pictures that is held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
        """Read the pictures. Raises DataError if there are none, too few, or too many that are unreadable."""
        root = locate(folder, self.path)
        paths = find_pictures(root)
        held = held_out_mask(len(paths), self.test_fraction)
        train, test = list(compress(paths, ~held)), list(compress(paths, held))
        parts = _read_parts(train, test, self)
        if not len(parts.train) or not len(parts.test):
            raise DataError(
                f"{root} has {len(parts.train) + len(parts.test)} different images that can be read, too few to "
                "train on some and test on others: add images"
            )
        return Dataset(root.name, self.licence, parts.train, parts.test)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The images to train on and to test on, uint8 N,H,W,C both."""

    train: Pixels
    test: Pixels


def read_folder(root: Path, section: FolderSection) -> Pixels:
    """Return all pictures below `root`, resized to the size of the section: uint8 (N, H, W, C)."""
    return _read_parts(find_pictures(root), [], section).train


def find_pictures(root: Path) -> list[Path]:
    """Return the files that are pictures by their names, in order of their paths.

    System files are ignored; empty files and pictures of formats that are not read are left out with a warning. Raises
    DataError if the folder is missing or cannot be read, or if there are no pictures.
    """
    if root.is_file():
        raise DataError(f"{root} is a file: name the folder that it is in")
    if not root.exists():
        raise DataError(f"{root} does not exist: check data.path, or name the folder that it is in by --data")
    files = [path for path in list_files(root, unreadable=_raise_unreadable) if path.is_file()]
    paths = [path for path in files if path.suffix.lower() in SUFFIXES and path.stat().st_size]
    left_out = Counter(path.suffix.lower() for path in files if path.suffix.lower() in FORMAT_BY_SUFFIX)
    left_out -= Counter(path.suffix.lower() for path in paths)
    if left_out:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in left_out.most_common())
        log.warning("%s: left out, because they are empty or of a format that training does not read: %s", root, counts)
    if not paths:
        raise DataError(f"{root} contains no pictures: add some, of the formats {', '.join(sorted(SUFFIXES))}")
    return paths


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}")


def read_image(path: Path, seen: set[bytes]) -> Reading:
    """Decode a picture, composited on black if it is transparent, unless its digest is in `seen`.

    The digest of a picture that is decoded is added to `seen`. An unreadable file is logged as a warning.
    """
    try:
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest in seen:
            return Reading(digest, None, "copy")
        picture = decode(content, formats=FORMATS, max_pixels=MAX_PIXELS)
    except (Problem, OSError) as error:
        log.warning("%s is skipped: %s", path, error)
        return Reading(b"", None, "broken")
    seen.add(digest)
    return Reading(
        digest, picture.pixels if picture.alpha is None else composite(picture.pixels, picture.alpha, "black")
    )


def read_pictures(paths: Sequence[Path], max_broken_fraction: float, *, colour: bool = False) -> Iterator[Pixels]:
    """Yield pictures one by one, uint8 (H, W, C), composited on black if they are transparent. With `colour`, C is 3.

    Unreadable files are skipped with a warning. Raises DataError at the end if they are a larger fraction than
    `max_broken_fraction`.
    """
    skipped = 0
    for path in paths:
        reading = read_image(path, set())
        if reading.pixels is None:
            skipped += 1
            continue
        yield fit_to_size(reading.pixels, None, None, 3) if colour else reading.pixels
    check_broken(skipped, len(paths), max_broken_fraction)


def check_broken(broken: int, count: int, max_broken_fraction: float) -> None:
    """Raise DataError if `broken` of `count` pictures are a larger fraction than `max_broken_fraction`."""
    if broken > max_broken_fraction * count:
        raise DataError(
            f"{broken} of {count} pictures are unreadable, more than data.max_broken_fraction allows: remove them, or "
            f"set it to {min(0.99, broken / count + 0.01):.2f}"
        )


def _read_parts(train: list[Path], test: list[Path], section: FolderSection) -> _Parts:
    """Read the training and the test pictures, without copies of earlier ones."""
    paths = [*train, *test]
    shape = (section.height, section.width, section.channels)
    seen: set[bytes] = set()

    def read(path: Path) -> Reading:
        reading = read_image(path, seen)
        if reading.pixels is None:
            return reading
        return Reading(reading.digest, fit_to_size(reading.pixels, section.height, section.width, section.channels))

    if len(paths) * int(np.prod(shape)) > MAX_MEMORY_BYTES:
        cached = cache_items(cache_folder() / "folders", paths, shape, read, seen)
        pixels, problems = cached.items, cached.problems
    else:
        readings = [read(path) for path in paths]
        problems = [reading.problem for reading in readings]
        kept = [reading.pixels for reading in readings if reading.pixels is not None]
        pixels = np.stack(kept) if kept else np.empty((0, *shape), np.uint8)
    counts = Counter(problems)
    if counts["broken"] == len(paths):
        raise DataError(f"none of the {len(paths)} pictures can be read: {paths[0].parent} contains broken files only")
    check_broken(counts["broken"], len(paths), section.max_broken_fraction)
    if len(pixels) == 1 and counts["copy"]:
        raise DataError(f"all {counts['copy'] + 1} pictures are the same: add different ones, because one is too few")
    if counts["copy"]:
        log.warning("%d of %d pictures are copies of others and are left out", counts["copy"], len(paths))
    count = sum(not problem for problem in problems[: len(train)])
    return _Parts(pixels[:count], pixels[count:])

"""A folder of images, decoded and fitted to size by the service's own rules."""

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

from service.codec import composite, decode, fit_to_size
from service.errors import Problem
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, held_out_mask, locate
from training.data.downloads import cache_folder
from training.data.pixel_cache import Reading, cache_items
from training.errors import DataError
from training.schema import NOT_STATED, Fraction

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28  # a training picture may be large; only a bomb is larger
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif", "avif")
SUFFIXES = {f".{name}" for name in FORMATS} | {".jpg", ".jpe", ".jfif", ".tif"}
MAX_MEMORY_BYTES = 256 << 20
"""Size of all pixels above which they are mapped from a file in the cache instead of being held in memory."""


class FolderSection(DataSection):
    """A folder of images and the folders in it, each image fitted to one size as the service would do it.

    Copies of an image are left out, so that no test image is trained on. Many images are decoded once, into a file
    below `~/.cache/hourglass` that is mapped into memory; decoding continues where it was stopped.
    """

    source: Literal["folder"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    height: PositiveInt = 64
    """Pixels that every picture is resized to."""
    width: PositiveInt = 64
    """Pixels that every picture is resized to."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    licence: str = NOT_STATED
    """Of the pictures."""
    max_broken_fraction: Fraction = 0.01
    """Share of pictures that may be unreadable; each is named and skipped."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
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
    """All pictures under `root`, fitted to the section's size: uint8 N,H,W,C."""
    return _read_parts(find_pictures(root), [], section).train


def find_pictures(root: Path) -> list[Path]:
    """The files that are pictures by their names, in order of their paths. Raises DataError where there are none.

    Files whose names begin with a dot, as macOS leaves them, are passed over.
    """
    if root.is_file():
        raise DataError(f"{root} is a file: name the folder that it is in")
    if not root.exists():
        raise DataError(f"{root} does not exist: check data.path, or name the folder that it is in by --data")
    paths = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return paths


def read_image(path: Path, seen: set[bytes]) -> Reading:
    """Decode an image without its transparency, unless its content is in `seen`, to which it is added."""
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
    """Pictures one at a time: uint8 H,W,C, without transparency; with `colour` C is 3.

    What cannot be read is named and skipped. Raises DataError, at the end, where that is a larger share than
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
    """Raise DataError if more than that share of the pictures is broken."""
    if broken > max_broken_fraction * count:
        raise DataError(
            f"{broken} of {count} pictures are broken, more than data.max_broken_fraction allows: remove them, or set "
            f"it to {min(0.99, broken / count + 0.01):.2f}"
        )


def _read_parts(train: list[Path], test: list[Path], section: FolderSection) -> _Parts:
    """Read both lists of images, the test images without those that are copies of training images."""
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
        raise DataError(f"none of the {len(paths)} images can be read: {paths[0].parent} has broken files only")
    check_broken(counts["broken"], len(paths), section.max_broken_fraction)
    if len(pixels) == 1 and counts["copy"]:
        raise DataError(f"all {counts['copy'] + 1} images are the same: there is nothing to learn from one image")
    if counts["copy"]:
        log.warning("%d of %d images are copies of others and are left out", counts["copy"], len(paths))
    count = sum(not problem for problem in problems[: len(train)])
    return _Parts(pixels[:count], pixels[count:])

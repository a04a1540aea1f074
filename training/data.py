"""Data sets in memory: pictures as uint8 N,H,W,C, vectors as float32 N,F. Knows no torch and no batches."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Field, PositiveInt

from service.codec import composite, decode, fit
from service.errors import Problem
from training.arrays import Items, Pixels, read_arrays
from training.errors import DataError
from training.section import Section, Share
from training.sources import DATASETS, TEST_IMAGES, TRAIN_IMAGES, IdxName, cache_folder, fetch

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28  # a training picture may be large; only a bomb is larger
FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
HeldOut = Annotated[float, Field(gt=0, lt=1)]
SUFFIXES = {f".{name}" for name in FORMATS} | {".jpg", ".tif"}
IDX_PICTURES = 0x00000803  # the file's first four bytes: unsigned bytes in three dimensions


class IdxSection(Section):
    """MNIST or Fashion-MNIST, with their own test sets of 10 000."""

    name: IdxName
    """Which of the two."""
    items: PositiveInt | None = None
    """Use only the first so many training items."""


class FolderSection(Section):
    """A folder of pictures, searched through, each fitted to one size as the service would do it."""

    name: Literal["folder"]
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
    broken: Share = 0.01
    """Share of pictures that may be unreadable; each is named and skipped."""
    test: HeldOut = 0.1
    """Share held out as the test set."""
    items: PositiveInt | None = None
    """Use only the first so many training items."""


class ArraysSection(Section):
    """A .npy, .npz (arrays `train` and perhaps `test`), .csv, .tsv or .txt file of pictures or vectors."""

    name: Literal["arrays"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    licence: str
    """Of the numbers."""
    test: HeldOut = 0.1
    """Share held out as the test set, where the file has none."""
    items: PositiveInt | None = None
    """Use only the first so many training items."""


DataSection = Annotated[IdxSection | FolderSection | ArraysSection, Discriminator("name")]


@dataclass(frozen=True, slots=True)
class Data:
    """A training set and the test set that no training sees."""

    name: str
    licence: str
    train: Items
    test: Items

    @property
    def sha256(self) -> str:
        """Of the training set: its type, its shape and its bytes."""
        digest = hashlib.sha256(f"{self.train.dtype} {self.train.shape}".encode())
        digest.update(self.train.tobytes())
        return digest.hexdigest()


def load(section: IdxSection | FolderSection | ArraysSection, folder: Path | None) -> Data:
    """The data that a recipe names; `folder` is looked into first. Raises DataError with the mend."""
    match section:
        case IdxSection():
            dataset = DATASETS[section.name]
            found = fetch(dataset, folder, cache_folder())
            train, test = (read_idx(found[name].content) for name in (TRAIN_IMAGES, TEST_IMAGES))
            name, licence = dataset.name, dataset.licence
        case FolderSection():
            root = (folder or Path()) / section.path
            train, test = hold_out(read_folder(root, section), section.test)
            name, licence = root.name, section.licence
        case ArraysSection():
            file = (folder or Path()) / section.path
            train, own = read_arrays(file)
            train, test = hold_out(train, section.test) if own is None else (train, own)
            name, licence = file.name, section.licence
    return Data(name, licence, train[: section.items], test)


def hold_out(items: Items, share: float, seed: int = 0) -> tuple[Items, Items]:
    """(the rest, `share` of the items), both in their old order; always the same for the same seed.

    Without a share everything is in the first. Raises DataError where a part would be empty.
    """
    count = round(share * len(items))
    if share and not 0 < count < len(items):
        raise DataError(f"{len(items)} items cannot be split so that {share:g} of them are held out: more are needed")
    drawn = np.zeros(len(items), dtype=bool)
    drawn[np.random.default_rng(seed).permutation(len(items))[:count]] = True
    return items[~drawn], items[drawn]


def read_idx(content: bytes) -> Pixels:
    """The pictures of an idx file: uint8 N,H,W,1. Raises DataError on anything else."""
    magic, count, height, width = np.frombuffer(content, ">u4", count=4) if len(content) >= 16 else (0, 0, 0, 0)
    if magic != IDX_PICTURES or len(content) != 16 + int(count) * int(height) * int(width):
        raise DataError("this is no idx file of pictures, or it is cut off")
    return np.frombuffer(content, np.uint8, offset=16).reshape(int(count), int(height), int(width), 1)


def read_folder(root: Path, section: FolderSection) -> Pixels:
    """All pictures under `root` in the order of their paths: uint8 N,H,W,C of the section's size."""
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    pictures: list[Pixels] = []
    for path in paths:
        try:
            picture = decode(path.read_bytes(), formats=FORMATS, max_pixels=MAX_PIXELS)
        except (Problem, OSError) as error:
            log.warning("%s is skipped: %s", path, error)
            continue
        pixels = picture.pixels if picture.alpha is None else composite(picture.pixels, picture.alpha, "black")
        pictures.append(fit(pixels, section.height, section.width, section.channels))
    broken = len(paths) - len(pictures)
    if broken > section.broken * len(paths):
        raise DataError(f"{broken} of {len(paths)} pictures in {root} are broken, more than data.broken allows")
    return np.stack(pictures)

"""Reads MNIST, Fashion-MNIST and other data sets of idx files: pictures, classes, and the published test sets."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from training.data.dataset import DataSection, Dataset, Labels, Pixels, TestFraction, hold_out, locate
from training.data.downloads import (
    DATASETS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    IdxName,
    cache_folder,
    fetch,
)
from training.errors import DataError
from training.schema import NOT_STATED

GZIP = b"\x1f\x8b"
IDX_PICTURES, IDX_LABELS = 0x00000803, 0x00000801  # the first four bytes: unsigned bytes in three dimensions or in one


class IdxSection(DataSection):
    """MNIST or Fashion-MNIST, with their published test sets of 10 000 items."""

    source: IdxName
    """Name of the data set."""

    def read(self, folder: Path | None) -> Dataset:
        """Find or download the files and read them. Raises DataError if a file is not available."""
        dataset = DATASETS[self.source]
        files = fetch(dataset, folder, cache_folder())
        train, test = (read_idx(files[name].content) for name in (TRAIN_IMAGES, TEST_IMAGES))
        train_labels, test_labels = (read_labels(files[name].content) for name in (TRAIN_LABELS, TEST_LABELS))
        return Dataset(dataset.name, dataset.licence, train, test, train_labels, test_labels)


class IdxFilesSection(DataSection):
    """Images in an idx file, or in a folder of `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte` or similar names.

    The files may be packed by gzip. Without a file of test images a share is held out.
    """

    source: Literal["idx"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    licence: str = NOT_STATED
    """Of the images."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set, where there is no file of test images."""

    def read(self, folder: Path | None) -> Dataset:
        root = locate(folder, self.path)
        images = read_idx_set(root)
        train, test = (images.train, images.test) if images.test is not None else (None, None)
        if train is None or test is None:
            train, test = hold_out(images.train, self.test_fraction)
        return Dataset(root.name, self.licence, train, test)


@dataclass(frozen=True, slots=True)
class IdxImages:
    """The images of a data set of idx files, uint8 N,H,W,1, and its test images, if there is a file of them."""

    train: Pixels
    test: Pixels | None = None


def find_idx(folder: Path) -> list[Path]:
    """Return the files of images in a folder, by their names, those for training first."""
    files = sorted(path for path in folder.iterdir() if "images" in path.name and "idx3" in path.name)
    return sorted(files, key=lambda path: "train" not in path.name)


def is_idx(path: Path) -> bool:
    """Return whether a file has the head of an idx file of images, packed or not."""
    with path.open("rb") as file:
        head = file.read(4)
    return head == IDX_PICTURES.to_bytes(4, "big") or (head[:2] == GZIP and "idx" in path.name)


def read_idx_set(path: Path) -> IdxImages:
    """Read an idx file, or the files of a folder. Raises DataError, with the path, if one is no idx file of images."""
    files = find_idx(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no idx files of images, such as train-images-idx3-ubyte.gz")
    images = [_read_packed(file) for file in files[:2]]
    return IdxImages(images[0], images[1] if len(images) > 1 else None)


def _read_packed(path: Path) -> Pixels:
    try:
        content = path.read_bytes()
        return read_idx(gzip.decompress(content) if content[:2] == GZIP else content)
    except (OSError, EOFError, zlib.error, DataError) as error:
        raise DataError(f"{path}: {error}") from error


def read_idx(content: bytes) -> Pixels:
    """Return the pictures of an idx file, uint8 (N, H, W, 1). Raises DataError if it is another file or truncated."""
    magic, count, height, width = np.frombuffer(content, ">u4", count=4) if len(content) >= 16 else (0, 0, 0, 0)
    if magic != IDX_PICTURES or len(content) != 16 + int(count) * int(height) * int(width):
        raise DataError("the file is not an idx file of pictures, or it is truncated")
    return np.frombuffer(content, np.uint8, offset=16).reshape(int(count), int(height), int(width), 1)


def read_labels(content: bytes) -> Labels:
    """Return the classes of an idx file, int64 (N,). Raises DataError if it is another file or truncated."""
    magic, count = np.frombuffer(content, ">u4", count=2) if len(content) >= 8 else (0, 0)
    if magic != IDX_LABELS or len(content) != 8 + int(count):
        raise DataError("the file is not an idx file of labels, or it is truncated")
    return np.frombuffer(content, np.uint8, offset=8).astype(np.int64)

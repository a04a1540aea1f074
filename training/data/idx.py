"""Reads MNIST and Fashion-MNIST from idx files: pictures, classes, and the published test sets of 10 000 items."""

from pathlib import Path

import numpy as np

from training.data.dataset import DataSection, Dataset, Labels, Pixels
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

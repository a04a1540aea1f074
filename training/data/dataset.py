"""What data sets consist of: pictures as uint8 N,H,W,C, vectors as float32 N,F, and perhaps a class for each."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from training.data.columns import Column
from training.errors import DataError
from training.schema import StrictModel

Pixels = NDArray[np.uint8]
Items = Pixels | NDArray[np.float32]
"""Pictures uint8 N,H,W,C, or vectors float32 N,F."""
Labels = NDArray[np.int64]
TestFraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Real noisy pictures and what they would be without their noise: uint8 N,H,W,3 both."""

    noisy: Pixels
    clean: Pixels


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set and the test set that no training sees. Labels: the classes 0, 1, ... of the items, if known."""

    name: str
    licence: str
    train: Items
    test: Items
    train_labels: Labels | None = None
    test_labels: Labels | None = None
    test_name: str = ""
    """Of the test set, where it is none of the same."""
    columns: tuple[Column, ...] = ()
    """Of a table, its columns; none for images and for arrays without names."""
    pairs: Pairs | None = None
    """To choose the weights by; never trained on."""

    @property
    def sha256(self) -> str:
        """Of the training set: its type, its shape and its bytes."""
        digest = hashlib.sha256(f"{self.train.dtype} {self.train.shape}".encode())
        digest.update(np.ascontiguousarray(self.train).data)
        return digest.hexdigest()

    def head(self, count: int | None) -> "Dataset":
        """The same with the first `count` training items only."""
        labels = None if self.train_labels is None else self.train_labels[:count]
        return replace(self, train=self.train[:count], train_labels=labels)


class DataSection(StrictModel, ABC):
    """A `[data]` table; each kind adds `source`, what tells it from the others."""

    limit: PositiveInt | None = None
    """Use only the first so many training items."""

    @abstractmethod
    def read(self, folder: Path | None) -> Dataset:
        """The whole data set; `folder` is looked into first. Raises DataError with the mend."""


def locate(folder: Path | None, path: str) -> Path:
    r"""Return a path of a recipe: relative to `folder`, with `~` for the home folder and `\` as `/` where that exists.

    Raises DataError for a control character, which a backslash in double quotes makes: `"C:\train"` holds a tab.
    """
    if any(ord(char) < 32 for char in path):
        raise DataError(f"the path {path!r} holds a control character: write / for \\, or use single quotes in TOML")
    place = (folder.expanduser() if folder else Path()) / Path(path).expanduser()
    forward = (folder or Path()).expanduser() / path.replace("\\", "/") if "\\" in path else place
    return forward if not place.exists() and forward.exists() else place


def hold_out(items: Items, share: float, seed: int = 0) -> tuple[Items, Items]:
    """(the rest, `share` of the items), both in their old order; always the same for the same seed.

    Without a share everything is in the first. Raises DataError where a part would be empty.
    """
    if not share:
        return items, items[:0]
    held = held_out_mask(len(items), share, seed)
    return items[~held], items[held]


def split_indices(items: int, share: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of what `hold_out` puts into its two parts. Raises DataError as it does."""
    held = held_out_mask(items, share, seed) if share else np.zeros(items, dtype=bool)
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out_mask(items: int, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Which of so many items are held out. Raises DataError as `hold_out` does."""
    count = round(share * items)
    if not 0 < count < items:
        raise DataError(
            f"a set of {items} cannot be split so that {share:g} of it is held out: add items, or set "
            "data.test_fraction"
        )
    held = np.zeros(items, dtype=bool)
    held[np.random.default_rng(seed).permutation(items)[:count]] = True
    return held

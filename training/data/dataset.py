"""Data sets: pictures as uint8 (N, H, W, C) or vectors as float32 (N, F), optionally with a class per item."""

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
from training.schema import RecipeTable

Pixels = NDArray[np.uint8]
Items = Pixels | NDArray[np.float32]
"""Pictures, uint8 (N, H, W, C), or vectors, float32 (N, F)."""
Labels = NDArray[np.int64]
TestFraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures with real noise and the same pictures without it, both uint8 (N, H, W, 3)."""

    noisy: Pixels
    clean: Pixels


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set, and a test set that is never trained on. Labels are classes 0, 1, ... of the items, if known."""

    name: str
    licence: str
    train: Items
    test: Items
    train_labels: Labels | None = None
    test_labels: Labels | None = None
    test_name: str = ""
    """Name of the test set, if it is another data set than the training set."""
    columns: tuple[Column, ...] = ()
    """Columns of a table; empty for pictures and for arrays without names."""
    pairs: Pairs | None = None
    """Pairs by which the best weights are chosen; never trained on."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the training set: of its dtype, its shape and its bytes."""
        digest = hashlib.sha256(f"{self.train.dtype} {self.train.shape}".encode())
        digest.update(np.ascontiguousarray(self.train).data)
        return digest.hexdigest()

    def head(self, count: int | None) -> "Dataset":
        """Return the data set with its first `count` training items only, or with all if `count` is None."""
        labels = None if self.train_labels is None else self.train_labels[:count]
        return replace(self, train=self.train[:count], train_labels=labels)


class DataSection(RecipeTable, ABC):
    """Base class of the `[data]` tables. Each subclass adds `source`, which selects it."""

    limit: PositiveInt | None = None
    """Number of training items to use, from the first; without it all are used."""

    @abstractmethod
    def read(self, folder: Path | None) -> Dataset:
        """Return the whole data set. Files are searched in `folder` first.

        Raises DataError, which says how to fix it, if the data is missing or invalid.
        """


def locate(folder: Path | None, path: str) -> Path:
    r"""Return a path of a recipe, relative to `folder`. `~` is the home folder, and `\` is read as `/` if that exists.

    Raises DataError for a control character. TOML reads `\t` in double quotes as one: `"C:\train"` contains a tab.
    """
    if any(ord(char) < 32 for char in path):
        raise DataError(f"the path {path!r} contains a control character: write / for \\, or use single quotes in TOML")
    place = (folder.expanduser() if folder else Path()) / Path(path).expanduser()
    forward = (folder or Path()).expanduser() / path.replace("\\", "/") if "\\" in path else place
    return forward if not place.exists() and forward.exists() else place


def hold_out(items: Items, fraction: float, seed: int = 0) -> tuple[Items, Items]:
    """Return the items that are kept and the `fraction` that is held out, both in their original order.

    The choice depends on `seed` only. A fraction of 0 holds out nothing. Raises DataError if a part would be empty.
    """
    if not fraction:
        return items, items[:0]
    held = held_out_mask(len(items), fraction, seed)
    return items[~held], items[held]


def split_indices(items: int, fraction: float, seed: int, key: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the items that `hold_out` keeps, and of those that it holds out.

    Raises DataError, which names the key of the fraction, if a part would be empty.
    """
    held = held_out_mask(items, fraction, seed, key) if fraction else np.zeros(items, dtype=bool)
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out_mask(items: int, fraction: float, seed: int = 0, key: str = "data.test_fraction") -> NDArray[np.bool_]:
    """Return which of `items` items are held out, bool (items,). `key` is that of the fraction in a recipe.

    Raises DataError if a part would be empty.
    """
    count = round(fraction * items)
    if not 0 < count < items:
        raise DataError(
            f"{fraction:g} of {items} items cannot be held out, because a part would be empty: add items, or set {key}"
        )
    held = np.zeros(items, dtype=bool)
    held[np.random.default_rng(seed).permutation(items)[:count]] = True
    return held

"""Reads items from .npy and .npz files and from tables of text. Pickled objects are never loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.data.array_rows import plan_rows
from training.data.columns import Column, TablePolicy, assemble
from training.data.dataset import DataSection, Dataset, Items, Labels, TestFraction, hold_out, locate
from training.data.mapped_array import is_large, map_items
from training.data.parquet import PARQUET_SUFFIXES, read_parquet
from training.data.table import read_columns
from training.errors import DataError
from training.schema import NOT_STATED

TABLE_SUFFIXES = {".csv", ".tsv", ".txt", ".dat", ".tab"}
SPREADSHEET_SUFFIXES = {".xlsx", ".xls", ".ods", ".feather", ".sav", ".rds"}


class ArraysSection(DataSection, TablePolicy):
    """A .npy, .npz, .csv, .tsv, .txt or .parquet file of pictures or vectors.

    A .npy file above 256 MiB is copied into a file below `~/.cache/hourglass`, once, which is memory-mapped.
    An .npz file contains the array `train`, optionally `test`, and with it optionally `train_labels` and `test_labels`.
    Missing values are empty fields, NA, NaN, null, none, ? or - in a table of text, and NaN in an array.
    """

    source: Literal["arrays"]
    path: str
    """Path of the file, relative to the data folder (`--data`) or else to the current folder."""
    licence: str = NOT_STATED
    """Licence of the data."""
    array: str = "train"
    """Name of the training array in an .npz file."""
    test_fraction: TestFraction = 0.1
    """Fraction of the items that is held out as the test set, if the file contains none."""

    def read(self, folder: Path | None) -> Dataset:
        """Read the file. Raises DataError if it is missing or invalid."""
        file = locate(folder, self.path)
        if is_large(file):
            return self._map(file)
        arrays = read_arrays(file, self.array, self)
        train, test = arrays.train, arrays.test
        if test is None:
            train, test = hold_out(train, self.test_fraction)
            named = any(column.categories or not column.name.isdecimal() for column in arrays.columns)
            return Dataset(file.name, self.licence, train, test, columns=arrays.columns if named else ())
        if (train.dtype, train.shape[1:]) != (test.dtype, test.shape[1:]):
            raise DataError(
                f"{file}: the training items are {_describe(train)} and the test items {_describe(test)}: give both "
                "the same dtype and shape"
            )
        return Dataset(file.name, self.licence, train, test, *read_npz_labels(file, len(train), len(test)))

    def _map(self, file: Path) -> Dataset:
        """Return the data set of a .npy file that is too large for memory."""
        try:
            mapped = map_items(file, self, self.test_fraction, as_items)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        return Dataset(file.name, self.licence, mapped.train, mapped.test)


@dataclass(frozen=True, slots=True)
class Arrays:
    """The training items of a file, its test items if it has both, and the columns of a table."""

    train: Items
    test: Items | None = None
    columns: tuple[Column, ...] = ()


def read_arrays(path: Path, array: str = "train", policy: TablePolicy | None = None) -> Arrays:
    """Read the items of a table, of a .npy file, or of the arrays `array` and `test` of an .npz file.

    Raises DataError, with the path and the remedy, if the file cannot be read, lacks `array`, or contains neither
    pictures nor vectors.
    """
    policy = policy or TablePolicy()
    if path.suffix.lower() in SPREADSHEET_SUFFIXES:
        raise DataError(f"{path} is not a table of text: save it as CSV")
    if path.is_dir():
        raise DataError(f"{path} is a folder, and not a file of numbers: for images set data.source = 'folder'")
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            table = assemble(path, read_parquet(path), policy)
            return Arrays(table.values, None, table.columns)
        if path.suffix.lower() in TABLE_SUFFIXES:
            table = read_columns(path, policy)
            return Arrays(table.values, None, table.columns)
        arrays = _load_numpy(path, array)
        if array not in arrays:
            raise DataError(f"it contains {', '.join(arrays)}, but no array named {array}: set data.array")
        test = as_items(_complete(path, arrays["test"], policy)) if "test" in arrays else None
        return Arrays(as_items(_complete(path, arrays[array], policy)), test)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _complete(path: Path, array: NDArray[Any], policy: TablePolicy) -> NDArray[Any]:
    """Return the rows and columns of an array (N, F) that the policy uses; other arrays unchanged."""
    if array.ndim != 2 or array.dtype.kind not in "fiub" or policy.is_default:
        return array
    return plan_rows(path, array, policy).apply(array, 0)


def _load_numpy(path: Path, array: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name; the array of a .npy file is called `array`."""
    try:
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return {name: loaded[name] for name in loaded.files}
        return {array: loaded}
    except Exception as error:  # numpy, zipfile and zlib raise many unrelated classes for a broken file
        raise DataError(f"it cannot be read as an array: {error}") from error


def read_npz_labels(path: Path, train: int, test: int) -> tuple[Labels | None, Labels | None]:
    """Return the classes of the training items and of the test items, int64 (N,), or (None, None) if a file has none.

    Raises DataError if there is not one integer per item.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not {"train_labels", "test_labels"} <= set(arrays.files):
                return None, None
            train_labels, test_labels = arrays["train_labels"], arrays["test_labels"]
    except ValueError as error:
        raise DataError(f"{path}: the labels cannot be read: {error}") from error
    for labels, count in ((train_labels, train), (test_labels, test)):
        if labels.dtype.kind not in "iu" or labels.shape != (count,):
            raise DataError(f"{path}: labels must be one integer per item, not {labels.dtype} {labels.shape}")
    return train_labels.astype(np.int64), test_labels.astype(np.int64)


def as_items(array: NDArray[Any]) -> Items:
    """Return an array as pictures, uint8 (N, H, W, C), or as vectors, float32 (N, F).

    Arrays of two dimensions are vectors; others are pictures (N, H, W) or (N, H, W, C), as uint8 or as floats in 0..1.
    Raises DataError for other shapes and dtypes, for empty arrays, and for numbers that are not finite.
    """
    if array.dtype.kind == "f" and array.ndim == 2 and np.isnan(array).any():
        raise DataError(
            f"{np.isnan(array).any(1).sum()} of {len(array)} rows have missing values (NaN): set data.missing to "
            "'drop' or 'mean'"
        )
    if array.dtype.kind not in "fiub" or not array.size or not np.isfinite(array).all():
        raise DataError(f"an array of {array.dtype} {array.shape} is empty, or contains something but finite numbers")
    if array.ndim == 2:
        return array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = np.round(array * 255).astype(np.uint8)
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{array.dtype} {array.shape} is neither pictures (uint8 N,H,W,C or 0..1) nor vectors (N,F)")
    return array


def _describe(items: Items) -> str:
    return f"{items.dtype} {items.shape[1:]}"

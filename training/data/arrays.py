"""Files of numbers as items: .npy, .npz, and tables of text. Pickled objects are never loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.data.columns import Column, Table, TablePolicy, assemble, fill_missing
from training.data.dataset import DataSection, Dataset, Items, Labels, TestFraction, hold_out, locate
from training.data.parquet import PARQUET_SUFFIXES, read_parquet
from training.data.table import read_columns
from training.errors import DataError
from training.schema import NOT_STATED

TABLE_SUFFIXES = {".csv", ".tsv", ".txt", ".dat", ".tab"}
SPREADSHEET_SUFFIXES = {".xlsx", ".xls", ".ods", ".feather", ".sav", ".rds"}


class ArraysSection(DataSection, TablePolicy):
    """A .npy, .npz, .csv, .tsv, .txt or .parquet file of pictures or vectors.

    An .npz holds the array `train`, perhaps `test`, and then perhaps `train_labels` and `test_labels`. Missing values
    are an empty field, NA, NaN, null, none, ? or - in a table of text, and NaN in an array.
    """

    source: Literal["arrays"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    licence: str = NOT_STATED
    """Of the numbers."""
    array: str = "train"
    """Of an .npz, the array that is trained on."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set, where the file has none."""

    def read(self, folder: Path | None) -> Dataset:
        file = locate(folder, self.path)
        arrays = read_arrays(file, self.array, self)
        items, own = arrays.train, arrays.test
        if own is None:
            train, test = hold_out(items, self.test_fraction)
            named = any(column.categories or not column.name.isdecimal() for column in arrays.columns)
            return Dataset(file.name, self.licence, train, test, columns=arrays.columns if named else ())
        if (items.dtype, items.shape[1:]) != (own.dtype, own.shape[1:]):
            raise DataError(
                f"{file}: its items, {_describe(items)}, and its test items, {_describe(own)}, are not alike"
            )
        return Dataset(file.name, self.licence, items, own, *read_npz_labels(file, len(items), len(own)))


@dataclass(frozen=True, slots=True)
class Arrays:
    """The training items of a file, its test items if it has both, and the columns of a table."""

    train: Items
    test: Items | None = None
    columns: tuple[Column, ...] = ()


def read_arrays(path: Path, array: str = "train", policy: TablePolicy | None = None) -> Arrays:
    """Read the items of a file: a table, or arrays, of an .npz those named `array` and `test`.

    Raises DataError, with the path and what to do, if the file cannot be read or has something else in it.
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
            raise DataError(f"it holds {', '.join(arrays)}, but no array named {array}: set data.array")
        test = as_items(_complete(path, arrays["test"], policy)) if "test" in arrays else None
        return Arrays(as_items(_complete(path, arrays[array], policy)), test)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _complete(path: Path, array: NDArray[Any], policy: TablePolicy) -> NDArray[Any]:
    """Return an array (N, F) without missing values, as the policy says; others unchanged."""
    if array.ndim != 2 or array.dtype.kind != "f" or policy.missing == "refuse":
        return array
    columns = tuple(Column(str(number)) for number in range(1, array.shape[1] + 1))
    return fill_missing(path, Table(columns, array.astype(np.float32)), policy).values


def _load_numpy(path: Path, array: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by their names; one without a name is called `array`. Large ones stay in the file."""
    try:
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return {name: loaded[name] for name in loaded.files}
        return {array: loaded}
    except Exception as error:  # of broken files numpy, zipfile and zlib say so in a dozen classes
        raise DataError(f"it cannot be read as an array: {error}") from error


def read_npz_labels(path: Path, train: int, test: int) -> tuple[Labels | None, Labels | None]:
    """The classes of the training and test items in an .npz that has them. Raises DataError where they don't fit."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not {"train_labels", "test_labels"} <= set(arrays.files):
                return None, None
            found = arrays["train_labels"], arrays["test_labels"]
    except ValueError as error:
        raise DataError(f"{path}: its labels cannot be read: {error}") from error
    for labels, count in zip(found, (train, test), strict=True):
        if labels.dtype.kind not in "iu" or labels.shape != (count,):
            raise DataError(f"{path}: labels are whole numbers, one an item, not {labels.dtype} {labels.shape}")
    return found[0].astype(np.int64), found[1].astype(np.int64)


def as_items(array: NDArray[Any]) -> Items:
    """The array as pictures (uint8 N,H,W or N,H,W,C; floats must be in 0..1) or vectors (any numbers, N,F)."""
    if array.dtype.kind == "f" and array.ndim == 2 and np.isnan(array).any():
        raise DataError(
            f"{np.isnan(array).any(1).sum()} of {len(array)} rows have missing values (NaN): set data.missing to "
            "'drop' or 'mean'"
        )
    if array.dtype.kind not in "fiub" or not array.size or not np.isfinite(array).all():
        raise DataError(f"an array of {array.dtype} {array.shape} is not finite numbers, or is empty")
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

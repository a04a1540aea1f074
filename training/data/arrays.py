"""Files of numbers as items: .npy, .npz, and tables of text. Pickled objects are never loaded."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import DataSection, Dataset, Items, Labels, TestFraction, hold_out, locate
from training.data.table import read_table
from training.errors import DataError

TABLE_SUFFIXES = {".csv", ".tsv", ".txt", ".dat", ".tab"}
SPREADSHEET_SUFFIXES = {".xlsx", ".xls", ".ods", ".parquet", ".feather", ".sav", ".rds"}


class ArraysSection(DataSection):
    """A .npy, .npz, .csv, .tsv or .txt file of pictures or vectors.

    An .npz holds the array `train`, perhaps `test`, and then perhaps `train_labels` and `test_labels`.
    """

    source: Literal["arrays"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    licence: str
    """Of the numbers."""
    array: str = "train"
    """Of an .npz, the array that is trained on."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set, where the file has none."""

    def read(self, folder: Path | None) -> Dataset:
        file = locate(folder, self.path)
        items, own = read_arrays(file, self.array)
        if own is None:
            return Dataset(file.name, self.licence, *hold_out(items, self.test_fraction))
        if (items.dtype, items.shape[1:]) != (own.dtype, own.shape[1:]):
            raise DataError(
                f"{file}: its items, {_describe(items)}, and its test items, {_describe(own)}, are not alike"
            )
        return Dataset(file.name, self.licence, items, own, *read_npz_labels(file, len(items), len(own)))


def read_arrays(path: Path, array: str = "train") -> tuple[Items, Items | None]:
    """The training items of a file, and its test items where it holds both (.npz with `array` and `test`)."""
    arrays = _read_named_arrays(path, array)
    if array not in arrays:
        raise DataError(f"{path} holds {', '.join(arrays)}, but no array named {array}: set data.array")
    try:
        return as_items(arrays[array]), as_items(arrays["test"]) if "test" in arrays else None
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read_named_arrays(path: Path, array: str) -> dict[str, NDArray[Any]]:
    """What a file holds by its names; one without names is called `array`."""
    if path.suffix.lower() in SPREADSHEET_SUFFIXES:
        raise DataError(f"{path} is not a table of text: save it as CSV")
    try:
        if path.suffix.lower() in TABLE_SUFFIXES:
            return {array: read_table(path)}
        with path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            return {array: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # of broken files numpy, zipfile and zlib say so in a dozen classes
        raise DataError(f"{path} cannot be read as an array: {error}") from error


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
    if array.dtype.kind not in "fiub" or not array.size or not np.isfinite(array).all():
        raise DataError(f"an array of {array.dtype} {array.shape} is not finite numbers, or is empty")
    if array.ndim == 2:
        return array.astype(np.float32)
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = np.round(array * 255).astype(np.uint8)
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{array.dtype} {array.shape} is neither pictures (uint8 N,H,W,C or 0..1) nor vectors (N,F)")
    return array


def _describe(items: Items) -> str:
    return f"{items.dtype} {items.shape[1:]}"

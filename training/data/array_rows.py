"""Chooses rows and columns of an array (N, F), block by block, so that the array may be a mapped file."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.columns import TablePolicy
from training.errors import DataError

log = logging.getLogger(__name__)

BLOCK_VALUES = 1 << 22
"""Numbers that are looked at at a time."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Which rows, bool (N,), and which columns, int (F,), are used, and the means that missing values become, (F,)."""

    keep: NDArray[np.bool_]
    columns: NDArray[np.int64]
    means: NDArray[np.float64]

    def apply(self, block: Array, start: int) -> Array:
        """Return what is used of the rows from `start`: float32 (n, F)."""
        rows = block[self.keep[start : start + len(block)]][:, self.columns].astype(np.float32)
        missing = np.isnan(rows)
        return np.where(missing, self.means.astype(np.float32), rows) if missing.any() else rows


def blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield parts of an array along its first axis, each with the index of its first item."""
    step = max(1, BLOCK_VALUES // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def plan_rows(path: Path, array: Array, policy: TablePolicy) -> RowPlan:
    """Return what is used of an array (N, F) of numbers, by a policy that names columns by their numbers from 1.

    Raises DataError, with what to set, if values are missing and the policy refuses them, or if nothing is left.
    """
    names = [str(number) for number in range(1, array.shape[1] + 1)]
    for key, chosen in (("drop", policy.drop), ("rows", policy.rows)):
        if unknown := [name for name in chosen if name not in names]:
            raise DataError(f"data.{key}: there is no column {unknown[0]!r}; the columns are 1 to {len(names)}")
    columns = np.array([index for index, name in enumerate(names) if name not in policy.drop], np.int64)
    if not len(columns):
        raise DataError("no column is left: leave out fewer of them in data.drop")
    keep = np.ones(len(array), bool)
    sums, counts = np.zeros(len(columns)), np.zeros(len(columns), np.int64)
    selected = incomplete = 0
    for start, block in blocks(array):
        part = keep[start : start + len(block)]
        for name, allowed in policy.rows.items():
            part &= np.isin(block[:, int(name) - 1], [float(value) for value in allowed])
        used = block[:, columns]
        missing = np.isnan(used) if used.dtype.kind == "f" else np.zeros(used.shape, bool)
        selected += int(part.sum())
        incomplete += int((missing.any(1) & part).sum())
        if policy.missing == "drop":
            part &= ~missing.any(1)
        sums += np.where(missing, 0, used)[part].sum(0, dtype=np.float64)
        counts += (~missing[part]).sum(0)
    if not selected:
        raise DataError(f"data.rows: no row has one of the values {policy.rows}")
    _check_missing(path, incomplete, selected, counts, policy)
    return RowPlan(keep, columns, sums / np.maximum(counts, 1))


def _check_missing(path: Path, incomplete: int, selected: int, counts: NDArray[np.int64], policy: TablePolicy) -> None:
    """Log what becomes of `incomplete` of `selected` rows. Raises DataError if it is refused, or nothing is left."""
    if not incomplete:
        return
    if policy.missing == "refuse":
        raise DataError(
            f"{incomplete} of {selected} rows have missing values (NaN): set data.missing to 'drop' or 'mean'"
        )
    if policy.missing == "drop":
        if incomplete == selected:
            raise DataError("every row has missing values: set data.missing = 'mean' or data.drop")
        log.warning("%s: %d of %d rows are left out, because values are missing", path, incomplete, selected)
        return
    if (counts == 0).any():
        raise DataError(f"no row has a value in column {int(np.argmin(counts)) + 1}: leave it out with data.drop")
    log.warning("%s: missing values in %d rows are filled in with the mean of their column", path, incomplete)

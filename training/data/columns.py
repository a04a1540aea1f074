"""Columns of tables: missing values, text and what to do about them. Nothing is changed without a log line."""

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.schema import RecipeTable

log = logging.getLogger(__name__)

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a", "<na>"}
"""Texts, in lower case, that stand for a missing value."""
MAX_CATEGORIES = 50
"""Maximum number of texts of a column that is one-hot encoded."""
MAX_STRAY_SHARE = 0.1
"""A column in which at most this share of the values is text is one of numbers with mistakes."""
FIELD = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that was read: one feature, or one feature for each of its categories."""

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers, float32 (N, F), and the columns that they belong to."""

    columns: tuple[Column, ...]
    values: Floats


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column as a file has it: numbers, float64 (N,) with NaN for what is missing, or else texts."""

    name: str
    numbers: NDArray[np.float64] | None
    texts: Sequence[str] = ()


class TablePolicy(RecipeTable):
    """The keys of a `[data]` table that say what to do about missing values and text in tables."""

    missing: Literal["refuse", "drop", "mean"] = "refuse"
    """What to do about missing values in a table: `refuse` the table, `drop` the rows that have some, or fill in the
    `mean` of the column."""
    categories: Literal["refuse", "one-hot", "drop"] = "refuse"
    """What to do about columns of text: `refuse` the table, encode them `one-hot` as a column for each text, or `drop`
    them."""
    drop: list[str] = []  # noqa: RUF012 - pydantic copies it
    """Names of columns to leave out; their numbers, from 1, if the table has no header."""
    rows: dict[str, list[float | int | str]] = {}  # noqa: RUF012
    """Keep only the rows in which a column has one of these values, for example `{ class = [1] }`."""

    @property
    def is_default(self) -> bool:
        """Whether the table is taken as it is."""
        return not self.drop and not self.rows and (self.missing, self.categories) == ("refuse", "refuse")


def raw_column(name: str, fields: Sequence[str], *, decimal_comma: bool) -> RawColumn:
    """Return a column of fields of text: numbers if all of them are numbers or missing, else texts."""
    stripped = [field.strip().replace("\u2212", "-") for field in fields]
    if decimal_comma:
        stripped = [field.replace(",", ".") if DECIMAL_COMMA.fullmatch(field) else field for field in stripped]
    numeric = [bool(FIELD.fullmatch(field)) for field in stripped]
    filled = [field.lower() not in MISSING for field in stripped]
    if any(numeric) and all(number or not full for number, full in zip(numeric, filled, strict=True)):
        values = [float(field) if number else math.nan for field, number in zip(stripped, numeric, strict=True)]
        return RawColumn(name, np.array(values))
    if not any(filled):
        return RawColumn(name, np.full(len(fields), math.nan))
    return RawColumn(name, None, [field if full else "" for field, full in zip(stripped, filled, strict=True)])


def assemble(path: Path, raw: Sequence[RawColumn], policy: TablePolicy) -> Table:
    """Return the numbers of the columns, as the policy says. Raises DataError, with what to set, for anything else."""
    raw = _selected_rows(raw, policy)
    known = [column.name for column in raw]
    for name in policy.drop:
        if name not in known:
            raise DataError(f"data.drop: there is no column {name!r}; the table has {_list(known)}")
    parts = [part for column in raw if column.name not in policy.drop for part in _encode(path, column, policy)]
    if not parts:
        raise DataError("no column is left: leave out fewer of them in data.drop")
    values = np.concatenate([numbers for _, numbers in parts], axis=1)
    return fill_missing(path, Table(tuple(column for column, _ in parts), values.astype(np.float32)), policy)


def fill_missing(path: Path, table: Table, policy: TablePolicy) -> Table:
    """Return the table without missing values (NaN). Raises DataError if the policy refuses them."""
    missing: NDArray[np.bool_] = np.isnan(table.values)
    rows: NDArray[np.bool_] = np.any(missing, axis=1, keepdims=True)[:, 0]
    if not rows.any():
        return table
    names = [
        name
        for name, some in zip(feature_names(table.columns), np.any(missing, axis=0, keepdims=True)[0], strict=True)
        if some
    ]
    if policy.missing == "refuse":
        raise DataError(
            f"{rows.sum()} of {len(rows)} rows have missing values, in {_list(names)}: set data.missing to 'drop' for "
            "leaving out these rows, or to 'mean' for filling in the mean of the column"
        )
    if policy.missing == "drop":
        if rows.all():
            raise DataError(f"every row has missing values, in {_list(names)}: set data.missing = 'mean' or data.drop")
        log.warning("%s: %d of %d rows are left out, because values are missing", path, rows.sum(), len(rows))
        return Table(table.columns, table.values[~rows])
    if empty := [
        name
        for name, all_missing in zip(
            feature_names(table.columns), np.all(missing, axis=0, keepdims=True)[0], strict=True
        )
        if all_missing
    ]:
        raise DataError(f"no row has a value in {_list(empty)}: leave them out with data.drop")
    log.warning("%s: %d missing values are filled in with the mean of their column", path, missing.sum())
    return Table(table.columns, np.where(missing, np.nanmean(table.values, 0), table.values).astype(np.float32))


def feature_names(columns: Sequence[Column]) -> list[str]:
    """Return a name for each feature: that of the column, or `column=category`."""
    return [name for column in columns for name in _names(column)]


def _names(column: Column) -> list[str]:
    return [f"{column.name}={text}" for text in column.categories] if column.categories else [column.name]


def _encode(path: Path, column: RawColumn, policy: TablePolicy) -> Iterator[tuple[Column, NDArray[np.float64]]]:
    """Yield the column as numbers (N, F) unless it is dropped."""
    if column.numbers is not None:
        yield Column(column.name), column.numbers[:, np.newaxis]
        return
    stray = [(row, text) for row, text in enumerate(column.texts, 1) if text and not FIELD.fullmatch(text)]
    levels = sorted({text for text in column.texts if text})
    if len(stray) <= MAX_STRAY_SHARE * len(column.texts):
        row, text = stray[0]
        raise DataError(
            f"row {row}, column {column.name}: {text[:40]!r} is not a number, unlike the rest of the column"
        )
    if policy.categories == "refuse":
        raise DataError(
            f"the column {column.name} has text ({_list(levels)}): set data.categories = 'one-hot' for one column for "
            f"each text, or leave it out with data.drop = ['{column.name}']"
        )
    if policy.categories == "drop":
        log.warning("%s: the column %s of text is left out", path, column.name)
        return
    if len(levels) > MAX_CATEGORIES:
        raise DataError(
            f"the column {column.name} has {len(levels)} different texts, and at most {MAX_CATEGORIES} are encoded: "
            f"leave it out with data.drop = ['{column.name}']"
        )
    encoded = np.array([[float(text == level) for level in levels] for text in column.texts])
    yield Column(column.name, tuple(levels)), encoded


def _selected_rows(raw: Sequence[RawColumn], policy: TablePolicy) -> Sequence[RawColumn]:
    """Return the columns with the rows that `policy.rows` selects."""
    for name, allowed in policy.rows.items():
        column = next((column for column in raw if column.name == name), None)
        if column is None:
            raise DataError(f"data.rows: there is no column {name!r}; the table has {_list([c.name for c in raw])}")
        if column.numbers is not None:
            keep = np.isin(column.numbers, [float(value) for value in allowed])
        else:
            keep = np.isin(np.array(column.texts), [str(value) for value in allowed])
        if not keep.any():
            raise DataError(f"data.rows: no row has one of the values {allowed} in column {name}")
        raw = [_rows_of(one, keep) for one in raw]
    return raw


def _rows_of(column: RawColumn, keep: NDArray[Any]) -> RawColumn:
    numbers = None if column.numbers is None else column.numbers[keep]
    texts = [text for text, kept in zip(column.texts, keep, strict=False) if kept]
    return RawColumn(column.name, numbers, texts)


def _list(names: Sequence[str], count: int = 5) -> str:
    """Return the first names as text."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")

"""Reads tables of numbers from text: CSV and its variants, as spreadsheets and statistics programs write them.

Nothing is dropped silently: rows and columns that are left out are logged, and other text is an error with its line.
"""

import csv
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.columns import MISSING, Column, RawColumn, Table, TablePolicy, assemble, raw_column
from training.errors import DataError
from training.text_files import read_text

log = logging.getLogger(__name__)

MAX_TEXT_BYTES = 200_000_000
"""Maximum size of a table of text. Its lines take up to ten times as much memory."""
MAX_NAME = 150
"""Maximum number of characters of the name of a column."""
DELIMITERS = "\t;,|"
INDEX_NAMES = {"", "index", "unnamed: 0", "rownames", "row.names", "id"}
MAX_FLOAT32 = float(np.finfo(np.float32).max)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NUMBER_LIKE = re.compile(r"[+\-\u2212]?[\d.,]*\d[\d.,eE+\-]*\s*%?")
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table and its number in the file, from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Text:
    """The parts of a table of text. `header` is empty if the first line has numbers; `delimiter` is None for blanks."""

    header: list[str]
    rows: list[Line]
    delimiter: str | None


def read_table(path: Path) -> NDArray[np.float32]:
    """Return the numbers of a text file, float32 N,F: one item per line, perhaps after a header.

    The delimiter is a tab, semicolon, comma, bar or blanks. Numbers may have decimal commas unless the delimiter is a
    comma. Lines that begin with `#` are comments. A column that numbers the rows, and repetitions of the header, are
    left out with a warning. Raises DataError, with the line and the reason, for anything else.
    """
    return read_columns(path, TablePolicy()).values


def read_columns(path: Path, policy: TablePolicy) -> Table:
    """Return the columns of a text file as `read_table` does, but with missing values and text as the policy says."""
    text = _read_lines(path)
    if policy.is_default:
        rows = _with_decimal_points(text.rows, text.delimiter)
        values = _parse(rows, text.header, text.delimiter)
        kept = _drop_index(path, values, text.header)
        return Table(tuple(Column(name) for name in _column_names(text.header, values, kept)), kept)
    return assemble(path, _raw_columns(path, text), policy)


def read_raw(path: Path) -> list[RawColumn]:
    """Return the columns of a text file as it has them, without one that numbers the rows."""
    return _raw_columns(path, _read_lines(path))


def _read_lines(path: Path) -> _Text:
    """Read the lines of a table. Raises DataError if it is too large, or has no rows."""
    if (size := path.stat().st_size) > MAX_TEXT_BYTES:
        raise DataError(
            f"it has {size / 1e6:,.0f} MB, and tables of text are read up to {MAX_TEXT_BYTES / 1e6:.0f} MB: convert it "
            "to .npy or .parquet, or use a sample of its rows"
        )
    content = read_text(path, fallback="latin-1")
    if "\0" in content:
        raise DataError("it is no text, whatever its name says: use the name that belongs to its content")
    text = content.split("\n")
    lines = [Line(number, line) for number, line in enumerate(text, 1) if line.strip() and not line.startswith("#")]
    delimiter = None
    if lines and (mark := re.fullmatch(r'"?sep=(.)"?', lines[0].text.strip())):  # the first line of Excel
        delimiter = mark[1]
        lines = lines[1:]
    if not lines:
        raise DataError("the file contains no numbers")
    delimiter = delimiter or _delimiter(lines[0].text)
    lines = _strip_delimiters(lines, delimiter)
    names = _split(lines[0].text, delimiter)
    header = names if _is_header(names) else []
    rows = _drop_headers(path, lines, header) if header else lines
    if not rows:
        raise DataError("the file contains a header, but no numbers below it")
    return _Text(header, rows, delimiter)


def _column_names(header: Sequence[str], values: NDArray[np.float32], kept: NDArray[np.float32]) -> list[str]:
    """Return the names of the columns that are kept, each once; without a header their numbers, from 1."""
    width = values.shape[1]
    names = ["", *header][-width:] if header else [str(number) for number in range(1, width + 1)]
    return _unique(names[width - kept.shape[1] :])


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names with their numbers in place of empty ones, and with a suffix where one is repeated."""
    unique: list[str] = []
    for number, name in enumerate(names, 1):
        base = name.strip()[:MAX_NAME] or str(number)
        unique.append(base if base not in unique else f"{base}.{number}")
    return unique


def _raw_columns(path: Path, text: _Text) -> list[RawColumn]:
    """Split the rows into columns. Raises DataError for a row with more or fewer values."""
    rows = [_split(row.text, text.delimiter) for row in text.rows]
    width = len(rows[0])
    for row, fields in zip(text.rows, rows, strict=True):
        if len(fields) != width:
            raise DataError(f"line {row.number} has {len(fields)} values, but the lines before have {width}")
    header = text.header or [str(number) for number in range(1, width + 1)]
    if width not in (len(header), len(header) + 1):
        raise DataError(f"line {text.rows[0].number} has {width} values, but the header has {len(header)} names")
    fields = zip(["", *header][-width:], zip(*rows, strict=True), strict=True)
    columns = [raw_column(name, values, decimal_comma=text.delimiter != ",") for name, values in fields]
    numbers_rows = bool(text.header) and _numbers_rows(columns[0], width > len(header))
    if numbers_rows:
        log.warning(
            "%s: the first column (%s) numbers the rows and is left out", path, columns[0].name or "without a name"
        )
        columns = columns[1:]
    names = _unique([column.name for column in columns])
    return [RawColumn(name, column.numbers, column.texts) for name, column in zip(names, columns, strict=True)]


def _numbers_rows(column: RawColumn, extra: bool) -> bool:
    """Return whether a first column numbers the rows: it has no name, or one of INDEX_NAMES and counts by one."""
    if extra or not column.name:
        return True
    counts = column.numbers is not None and len(column.numbers) > 1 and bool((np.diff(column.numbers) == 1).all())
    return column.name.lower() in INDEX_NAMES and counts


def _delimiter(line: str) -> str | None:
    """Return the delimiter of a line outside quotes, or None for blanks."""
    plain = re.sub(r'"[^"]*"', "", line)
    return next((mark for mark in DELIMITERS if mark in plain), None)


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [field.strip('"') for field in line.split()]
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _is_header(fields: Sequence[str]) -> bool:
    """Return whether the first line is a header: it has no numbers, or besides names only consecutive integers.

    A line of numbers with one invalid value is a row, so that it causes an error and is not mistaken for a header.
    """
    numbers = [field for field in fields if NUMBER_LIKE.fullmatch(field)]
    if not numbers or len(numbers) == len(fields):
        return not numbers
    if not all(field.isdecimal() for field in numbers):
        return False
    first = 0 if not any(field for field in fields if field not in numbers) else int(numbers[0])
    return [int(field) for field in numbers] == list(range(first, first + len(numbers))) and len(numbers) > 1


def _strip_delimiters(lines: list[Line], delimiter: str | None) -> list[Line]:
    """Remove the delimiter at the end of the lines if every line ends in one."""
    if delimiter is None or not all(line.text.rstrip(" ").endswith(delimiter) for line in lines):
        return lines
    return [Line(line.number, line.text.rstrip(" ")[:-1]) for line in lines]


def _drop_headers(path: Path, lines: list[Line], header: Sequence[str]) -> list[Line]:
    """Return the lines without the header and its repetitions, which concatenated files contain."""
    rows = [line for line in lines[1:] if line.text.strip() != lines[0].text.strip()]
    if repeated := len(lines) - 1 - len(rows):
        log.warning("%s: %d repetitions of the header (%s, ...) are left out", path, repeated, header[0])
    return rows


def _with_decimal_points(rows: list[Line], delimiter: str | None) -> list[Line]:
    """Replace decimal commas by points and U+2212 by a hyphen. Raises DataError if points and commas are mixed."""
    rows = [Line(row.number, row.text.replace("\u2212", "-")) for row in rows]
    if delimiter == "," or not any("," in row.text for row in rows):
        return rows
    if mixed := next((row for row in rows if "." in row.text), None):
        raise DataError(f"line {mixed.number}: some numbers have a decimal comma and others a point: use one of them")
    return [Line(row.number, DECIMAL_COMMA.sub(".", row.text)) for row in rows]


def _parse(rows: list[Line], header: Sequence[str], delimiter: str | None) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings(action="error"), np.errstate(over="ignore"):
            table = np.loadtxt(
                [row.text for row in rows], np.float32, delimiter=delimiter, ndmin=2, comments=None, quotechar='"'
            )
    except (ValueError, Warning) as error:  # numpy's message names neither the column nor the reason
        raise DataError(_explain(rows, header, delimiter) or str(error)) from error
    if header and table.shape[1] not in (len(header), len(header) + 1):
        raise DataError(f"line {rows[0].number} has {table.shape[1]} values, but the header has {len(header)} names")
    if not np.isfinite(table).all():
        raise DataError(_explain(rows, header, delimiter) or "a number is not finite")
    return table


def _explain(rows: list[Line], header: Sequence[str], delimiter: str | None) -> str | None:
    """Return the reason why the first invalid line is invalid, or None if there is none."""
    width = len(_split(rows[0].text, delimiter))
    for row in rows:
        fields = _split(row.text, delimiter)
        if len(fields) != width:
            return f"line {row.number} has {len(fields)} values, but the lines before have {width}"
        for column, field in enumerate(fields):
            name = header[column] if column < len(header) and header[column] else str(column + 1)
            if not field:
                return (
                    f"line {row.number}, column {name}: the value is missing; fill it in or leave the line out, or set "
                    "data.missing to 'drop' or 'mean'"
                )
            if not NUMBER.fullmatch(field) or abs(float(field)) > MAX_FLOAT32:
                hint = _hint(field)
                return f"line {row.number}, column {name}: {field[:40]!r} is not a finite number{hint}"
    return None


def _hint(field: str) -> str:
    """Return what to do about a field that is no number."""
    if re.fullmatch(r"-?\d+,\d+", field):
        return "; write decimals with a point"
    if field.lower() in MISSING:
        return "; for missing values set data.missing to 'drop' or 'mean'"
    return "; for columns of text set data.categories = 'one-hot', or leave the column out with data.drop"


def _drop_index(path: Path, table: NDArray[np.float32], header: Sequence[str]) -> NDArray[np.float32]:
    """Return the table without a first column that numbers the rows: unnamed, or named so and increasing by 1."""
    extra = bool(header) and table.shape[1] == len(header) + 1
    if not extra and (not header or header[0].lower() not in INDEX_NAMES or table.shape[1] < 2):
        return table
    counts = len(table) > 1 and bool((np.diff(table[:, 0]) == 1).all())
    if not extra and header[0] and not counts:
        return table
    name = header[0] if header and not extra and header[0] else "without a name"
    log.warning("%s: the first column (%s) numbers the rows and is left out", path, name)
    return table[:, 1:]

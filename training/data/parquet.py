"""Reads tables in the Parquet format with pyarrow, an optional library."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from training.data.columns import RawColumn
from training.errors import DataError

PARQUET_SUFFIXES = {".parquet", ".pq"}


def read_parquet(path: Path) -> list[RawColumn]:
    """Return the columns of a Parquet file: numbers with NaN for null, or texts. Raises DataError if it is none."""
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError("reading .parquet needs pyarrow: pip install pyarrow, or save the table as CSV") from error
    try:
        table = parquet.read_table(path)
    except Exception as error:  # pyarrow has its own classes, and OSError
        raise DataError(f"it cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return [_column(name, table.column(name)) for name in table.column_names if not name.startswith("__index_level_")]


def _column(name: str, values: Any) -> RawColumn:
    types: Any = import_module("pyarrow.types")
    kind = values.type
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_boolean(kind):
        values, kind = values.cast("int8"), None
    if kind is None or any(
        test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    ):
        return RawColumn(name, values.cast("float64", safe=False).to_numpy().astype(np.float64))
    return RawColumn(name, None, ["" if value is None else str(value) for value in values.to_pylist()])

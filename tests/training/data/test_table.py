"""Tables as spreadsheets, statistics programs and other systems write them: read, or refused with the line."""

import logging
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.compatibility import accepts, refuses
from training.data.arrays import read_arrays
from training.data.columns import Column, Table, TablePolicy, feature_names
from training.data.dataset import locate
from training.data.parquet import read_parquet
from training.data.table import read_columns, read_table
from training.errors import DataError

EXPECTED = [[1.5, 2.0], [3.0, -4.25], [5.0, 6.0]]
PLAIN = "1.5,2\n3,-4.25\n5,6\n"

READ = {
    "plain": PLAIN.encode(),
    "utf-8 mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "utf-8 mark and header": b"\xef\xbb\xbfa,b\n" + PLAIN.encode(),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-16 without mark": PLAIN.encode("utf-16-le"),
    "utf-32": PLAIN.encode("utf-32"),
    "latin-1 header": "Größe,Länge\n".encode("latin-1") + PLAIN.encode(),
    "windows line ends": PLAIN.replace("\n", "\r\n").encode(),
    "old mac line ends": PLAIN.replace("\n", "\r").encode(),
    "no last line end": PLAIN.rstrip().encode(),
    "blank lines": ("\n" + PLAIN.replace("\n", "\n\n")).encode(),
    "semicolons and decimal commas": b"1,5;2\n3;-4,25\n5;6\n",
    "tabs and decimal commas": b"1,5\t2\n3\t-4,25\n5\t6\n",
    "semicolons and points": b"1.5;2\n3;-4.25\n5;6\n",
    "bars": b"1.5|2\n3|-4.25\n5|6\n",
    "several blanks": b"  1.5   2\n3  -4.25\n 5 6\n",
    "blanks after commas": b"1.5, 2\n3, -4.25\n5, 6\n",
    "quoted fields": b'"a","b"\n"1.5","2"\n"3","-4.25"\n"5","6"\n',
    "comma in a quoted header": b'"a, in m";"b; in s"\n1,5;2\n3;-4,25\n5;6\n',
    "trailing delimiters": b"a,b,\n1.5,2,\n3,-4.25,\n5,6,\n",
    "trailing delimiters without header": b"1.5;2;\n3;-4.25;\n5;6;\n",
    "sep of excel": b"sep=;\n1,5;2\n3;-4,25\n5;6\n",
    "comment": b"# made by hand\n" + PLAIN.encode(),
    "minus sign": "1.5,2\n3,−4.25\n5,6\n".encode(),
    "exponents": b"1.5e0,2E+0\n3,-4.25\n5,6\n",
    "index of pandas": b",a,b\n0,1.5,2\n1,3,-4.25\n2,5,6\n",
    "index of pandas above numbers": b",0,1\n0,1.5,2\n1,3,-4.25\n2,5,6\n",
    "index of R": b'"","a","b"\n"1",1.5,2\n"2",3,-4.25\n"3",5,6\n',
    "index of R without a name": b'"a" "b"\n"1" 1.5 2\n"2" 3 -4.25\n"3" 5 6\n',
    "index of polars": b"index,a,b\n0,1.5,2\n1,3,-4.25\n2,5,6\n",
    "unnamed index read back": b"Unnamed: 0,a,b\n0,1.5,2\n1,3,-4.25\n2,5,6\n",
    "repeated header": b"a,b\n1.5,2\na,b\n3,-4.25\na,b\n5,6\n",
}


@accepts(27, "tables of numbers", oracle="the numbers that were written")
@pytest.mark.parametrize("data", READ.values(), ids=READ)
def test_a_table_of_another_system_is_read_whole(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    assert read_table(tmp_path / "t.csv").tolist() == EXPECTED


@accepts(
    27, "columns of row numbers and repeated headers are left out with a warning", oracle="the log", cases="{name}"
)
@pytest.mark.parametrize("name", ["index of pandas", "index of R without a name", "repeated header"])
def test_what_is_left_out_is_logged(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_bytes(READ[name])
    with caplog.at_level(logging.WARNING):
        read_table(tmp_path / "t.csv")
    assert "left out" in caplog.text


@accepts(27, "a column of numbers that does not count the rows stays", oracle="the numbers that were written")
def test_a_column_that_does_not_count_the_rows_stays(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,a\n7,1\n3,2\n")
    assert read_table(tmp_path / "t.csv").tolist() == [[7, 1], [3, 2]]


REFUSED = {
    "word": ("a,b\n1,2\n3,n/a\n", "line 3, column b: 'n/a' is not a finite number"),
    "missing value": ("a,b\n1,2\n3,\n", "line 3, column b: the value is missing"),
    "not finite": ("1,2\n3,inf\n", "line 2, column 2: 'inf' is not a finite number"),
    "nan": ("1,2\nnan,3\n", "line 2, column 1: 'nan' is not a finite number"),
    "too large": ("1,2\n1e99,3\n", "line 2, column 1: '1e99' is not a finite number"),
    "ragged": ("1,2\n3,4,5\n", "line 2 has 3 values, but the lines before have 2"),
    "total": ("a;b\n1;2\nSumme;3\n", "line 3, column a: 'Summe' is not a finite number"),
    "mixed decimals": ("1,5;2\n3.5;4\n", "line 2: some numbers have a decimal comma and others a point"),
    "thousands": ("1.234,5;2\n3;4\n", "line 1"),
    "decimal comma in quotes": ('"1,5","2"\n"3","4"\n', "decimals with a point"),
    "percent": ("1;2\n5%;3\n", "line 2, column 1: '5%' is not a finite number"),
    "header alone": ("a,b\n", "the file contains a header, but no numbers below it"),
    "word in the first row": ("n/a,2.5\n1,2\n", "line 1, column 1: 'n/a' is not a finite number"),
    "nothing": ("\n\n", "the file contains no numbers"),
    "wider than its header": ("a,b\n1,2,3,4\n", "line 2 has 4 values, but the header has 2 names"),
}


@refuses(
    27,
    "tables that are ambiguous or hold text",
    because="the file, the line, the column and the value",
    cases="{message}",
)
@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_is_not_understood_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_arrays(tmp_path / "t.csv")
    assert message in str(caught.value)
    assert str(tmp_path / "t.csv") in str(caught.value)


@refuses(27, "spreadsheets", because="save it as CSV", cases="{suffix}")
@pytest.mark.parametrize("suffix", [".xlsx", ".ods"])
def test_a_spreadsheet_is_refused_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="save it as CSV"):
        read_arrays(tmp_path / f"t{suffix}")


@accepts(27, "backslashes and `~` in paths", oracle="the path")
def test_a_path_of_a_recipe_may_have_backslashes_or_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/t.csv").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(tmp_path, "a\\t.csv") == tmp_path / "a/t.csv"
    assert locate(None, "~/a/t.csv") == tmp_path / "a/t.csv"
    assert locate(Path("~"), "a") == tmp_path / "a"
    with pytest.raises(DataError, match="control character"):
        locate(None, "C:\train")


@accepts(27, "a large table", oracle="numpy")
def test_a_large_table_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    items = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    np.savetxt(tmp_path / "t.csv", items, fmt="%.9g", delimiter=",")
    assert (read_table(tmp_path / "t.csv") == items).all()


MESSY = (
    "\ufeffid;Größe;Gewicht;Farbe;Note\n1;1,5;10;rot;NA\n2;2,5;;blau;2\n3;3,5;30;rot;3\n4;4,5;40;grün;4\n"
    "5;5,5;50;rot;5\n"
)
"""A byte order mark, a column that numbers the rows, decimal commas, text, and missing values."""


def columns_of(path: Path, text: str, **policy: Any) -> Table:
    """Write a table and read its columns."""
    path.write_text(text, "utf-8")
    return read_columns(path, TablePolicy(**policy))


def test_rows_with_missing_values_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = columns_of(tmp_path / "t.csv", MESSY, missing="drop", categories="drop")
    assert [column.name for column in table.columns] == ["Größe", "Gewicht", "Note"]
    assert table.values.tolist() == [[3.5, 30, 3], [4.5, 40, 4], [5.5, 50, 5]]
    assert "2 of 5 rows are left out, because values are missing" in caplog.text
    assert "the column Farbe of text is left out" in caplog.text


def test_missing_values_become_the_mean_of_their_column(tmp_path: Path) -> None:
    table = columns_of(tmp_path / "t.csv", MESSY, missing="mean", drop=["Farbe"])
    assert table.values[:2].tolist() == [[1.5, 10, 3.5], [2.5, 32.5, 2]]


def test_text_is_encoded_as_a_column_for_each(tmp_path: Path) -> None:
    table = columns_of(tmp_path / "t.csv", MESSY, missing="drop", categories="one-hot", drop=["Größe"])
    assert table.columns[1] == Column("Farbe", ("blau", "grün", "rot"))
    assert feature_names(table.columns) == ["Gewicht", "Farbe=blau", "Farbe=grün", "Farbe=rot", "Note"]
    assert table.values[:, 1:4].tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_rows_are_selected_by_the_value_of_a_column(tmp_path: Path) -> None:
    table = columns_of(tmp_path / "t.csv", "class,a\n1,5\n2,6\n1,7\n", rows={"class": [1]}, drop=["class"])
    assert table.values.tolist() == [[5], [7]]


def test_names_of_columns_are_each_once(tmp_path: Path) -> None:
    assert [c.name for c in columns_of(tmp_path / "t.csv", "a,a,b\n1,2,3\n").columns] == ["a", "a.2", "b"]
    assert [c.name for c in columns_of(tmp_path / "u.csv", "1,2\n3,4\n5,6\n").columns] == ["1", "2"]


POLICY_REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "missing": (
        MESSY,
        {"drop": ["Farbe"]},
        "2 of 5 rows have missing values, in Gewicht, Note: set data.missing to 'drop'",
    ),
    "text": (
        MESSY,
        {"missing": "drop"},
        "the column Farbe has text (blau, grün, rot): set data.categories = 'one-hot'",
    ),
    "unknown column": ("a,b\n1,2\n", {"drop": ["c"]}, "data.drop: there is no column 'c'; the table has a, b"),
    "nothing left": ("a,b\n1,2\n", {"drop": ["a", "b"]}, "no column is left"),
    "no such row": ("a,b\n1,2\n", {"rows": {"a": [5]}}, "no row has one of the values [5] in column a"),
    "all missing": ("a,b\n1,\n2,\n", {"missing": "mean"}, "no row has a value in b: leave them out with data.drop"),
    "no whole row": ("a,b\n1,\n,2\n", {"missing": "drop"}, "every row has missing values, in a, b"),
    "mistake": ("a\n" + "1\n" * 20 + "x1\n", {"categories": "one-hot"}, "row 21, column a: 'x1' is not a number"),
    "names": (
        "a,b\n" + "".join(f"n{n},1\n" for n in range(60)),
        {"categories": "one-hot"},
        "the column a has 60 different texts, and at most 50 are encoded",
    ),
}


@pytest.mark.parametrize(("text", "policy", "message"), POLICY_REFUSED.values(), ids=POLICY_REFUSED)
def test_columns_that_cannot_be_used_are_named(tmp_path: Path, text: str, policy: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        columns_of(tmp_path / "t.csv", text, **policy)
    assert message in str(caught.value)


def test_table_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(
        DataError, match=r"it has 300 MB, and tables of text are read up to 200 MB: convert it to \.npy"
    ):
        read_table(tmp_path / "t.csv")


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(DataError, match="no text, whatever its name says"):
        read_table(tmp_path / "t.csv")


def test_parquet_without_its_library_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"needs pyarrow: pip install pyarrow, or save the table as CSV"):
        read_arrays(tmp_path / "t.parquet")


def test_columns_of_parquet_keep_their_kinds(tmp_path: Path) -> None:
    arrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    columns = {
        "whole": arrow.array([1, 2, None], "int64"),
        "half": arrow.array([0.5, None, 1.5], "float16"),
        "flag": arrow.array([True, False, None]),
        "price": arrow.array([Decimal("1.25"), Decimal("-3.50"), None]),
        "level": arrow.array([7, 7, 9]).dictionary_encode(),
        "empty": arrow.nulls(3),
        "name": arrow.array(["a", None, "b"]).dictionary_encode(),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    columns_read = {column.name: column for column in read_parquet(tmp_path / "t.parquet")}
    expected: dict[str, list[float]] = {
        "whole": [1, 2, np.nan],
        "half": [0.5, np.nan, 1.5],
        "flag": [1, 0, np.nan],
        "price": [1.25, -3.5, np.nan],
        "level": [7, 7, 9],
        "empty": [np.nan] * 3,
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(columns_read[name].numbers, values)
    assert list(columns_read["name"].texts) == ["a", "", "b"]

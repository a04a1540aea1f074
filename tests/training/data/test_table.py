"""Tables as spreadsheets, statistics programs and other systems write them: read, or refused with the line."""

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.support.compatibility import accepts, refuses
from training.data.arrays import read_arrays
from training.data.dataset import locate
from training.data.table import read_table
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
@pytest.mark.parametrize("suffix", [".xlsx", ".ods", ".parquet"])
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

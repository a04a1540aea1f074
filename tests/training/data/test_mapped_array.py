"""Large .npy files: the same items as in memory, mapped from a file, and policies for missing values and columns."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training import pictures, vectors
from training.data import array_rows, mapped_array
from training.data.arrays import ArraysSection, read_arrays
from training.data.columns import TablePolicy
from training.errors import DataError
from training.starter import survey as survey_module
from training.starter.survey import TableSurvey, survey


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the cache, with blocks of a few rows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(array_rows, "BLOCK_VALUES", 50)
    return tmp_path / "cache" / "hourglass" / "arrays"


def section(path: Path, **keys: Any) -> ArraysSection:
    return ArraysSection(source="arrays", path=str(path), **keys)


def with_gaps() -> Any:
    """Return vectors float64 (60, 6), some of whose values are missing."""
    items = vectors(60).astype(np.float64)[:, :6]
    items[::7, 2] = np.nan
    items[:, 0] = np.arange(60) % 3
    return items


ARRAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "float32": (vectors(60), {}),
    "float64": (vectors(60).astype(">f8"), {}),
    "whole numbers": (np.arange(120).reshape(60, 2), {}),
    "columns first": (np.asfortranarray(vectors(60)), {}),
    "images": (pictures(60), {}),
    "images of fractions": (pictures(60)[..., 0] / 255, {}),
    "rows left out": (with_gaps(), {"missing": "drop"}),
    "means filled in": (with_gaps(), {"missing": "mean"}),
    "columns left out": (with_gaps(), {"drop": ["3"]}),
    "rows chosen": (with_gaps(), {"rows": {"1": [1]}, "drop": ["1"], "missing": "mean"}),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_mapped_items_are_those_in_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array, keys = ARRAYS[name]
    np.save(tmp_path / "a.npy", array)
    expected = section(tmp_path / "a.npy", **keys).read(None)
    assert not isinstance(expected.train, np.memmap)
    monkeypatch.setattr(mapped_array, "MAX_MEMORY_BYTES", 0)
    for _ in range(2):  # copied, then from the cache
        mapped = section(tmp_path / "a.npy", **keys).read(None)
        assert isinstance(mapped.train, np.memmap)
        assert mapped.train.dtype == expected.train.dtype
        np.testing.assert_array_equal(mapped.train, expected.train)
        np.testing.assert_array_equal(mapped.test, expected.test)


def test_columns_and_rows_of_an_array_are_chosen(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", with_gaps())
    policy = TablePolicy(rows={"1": [2]}, drop=["1", "3"])
    np.testing.assert_array_equal(
        read_arrays(tmp_path / "a.npy", policy=policy).train, vectors(60)[2::3][:, [1, 3, 4, 5]]
    )
    filled = read_arrays(tmp_path / "a.npy", policy=TablePolicy(missing="mean")).train
    assert filled[0, 2] == pytest.approx(np.nanmean(with_gaps()[:, 2]))


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "missing values": ({}, r"a\.npy: 9 of 60 rows have missing values.*data\.missing to 'drop' or 'mean'"),
    "no such column": ({"drop": ["7"]}, r"data\.drop: there is no column '7'; the columns are 1 to 6"),
    "no such row": ({"rows": {"1": [9]}}, r"data\.rows: no row has one of the values"),
    "no column": ({"drop": list("123456")}, "no column is left"),
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_of_an_array_names_the_key(
    name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, *, mapped: bool
) -> None:
    keys, message = PROBLEMS[name]
    np.save(tmp_path / "a.npy", with_gaps())
    monkeypatch.setattr(mapped_array, "MAX_MEMORY_BYTES", 0 if mapped else 1 << 28)
    with pytest.raises(DataError, match=message):
        section(tmp_path / "a.npy", **keys).read(None)
    assert not list(cache.glob("*"))


def test_full_disk_leaves_nothing_behind(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", vectors(60))
    monkeypatch.setattr(mapped_array, "MAX_MEMORY_BYTES", 0)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped_array, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space") as raised:
        section(tmp_path / "a.npy").read(None)
    assert str(cache) in str(raised.value.filename)
    assert not list(cache.glob("*"))


def test_large_array_is_surveyed_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", with_gaps())
    whole = survey(tmp_path / "a.npy")
    monkeypatch.setattr(mapped_array, "MAX_MEMORY_BYTES", 0)
    monkeypatch.setattr(survey_module, "MAX_MEMORY_BYTES", 1000)
    sampled = survey(tmp_path / "a.npy")
    assert isinstance(whole, TableSurvey)
    assert isinstance(sampled, TableSurvey)
    assert (sampled.rows, sampled.features, sampled.missing) == (60, whole.features, whole.missing)

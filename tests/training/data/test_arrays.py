"""Array files: every supported form, and rejected files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training import pictures, vectors
from training.data.arrays import as_items, read_arrays
from training.errors import DataError


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".tsv", ".txt"])
def test_vectors_are_read_from_every_format(tmp_path: Path, suffix: str) -> None:
    items, path = vectors(20), tmp_path / f"items{suffix}"
    match suffix:
        case ".npy":
            np.save(path, items)
        case ".npz":
            np.savez(path, train=items)
        case _:
            mark = {".csv": ",", ".tsv": "\t", ".txt": " "}[suffix]
            np.savetxt(path, items, fmt="%.9g", delimiter=mark, header=mark.join("abcdef"), comments="")
    arrays = read_arrays(path)
    train, test = arrays.train, arrays.test
    assert test is None
    np.testing.assert_array_equal(train, items)


def test_csv_without_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1;2\n3;4\n5;6\n7;8\n")
    assert read_arrays(tmp_path / "a.csv").train.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_npz_may_contain_a_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=pictures(5), test=pictures(2, seed=1))
    arrays = read_arrays(tmp_path / "a.npz")
    train, test = arrays.train, arrays.test
    assert (train == pictures(5)).all()
    assert test is not None
    assert (test == pictures(2, seed=1)).all()


BROKEN = ["objects.npy", "objects.npz", "cut.npy", "none.npy", "other.npz", "words.csv", "empty.csv", "header.csv",
          "empty.npy", "no_items.npy", "half.npz", "flipped.npz", "vast.npy", "unfinished.npy"]  # fmt: skip
HEAD = "{{'descr': '<f8', 'fortran_order': False, 'shape': {}}}"


@pytest.mark.parametrize("name", BROKEN)
def test_files_without_arrays_are_rejected(tmp_path: Path, name: str) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", allow_pickle=True, train=objects)
    np.savez(tmp_path / "other.npz", pictures=pictures(3))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "objects.npy").read_bytes()[:20])
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    (tmp_path / "header.csv").write_text("a,b\n")
    for empty in ("empty.csv", "empty.npy"):
        (tmp_path / empty).touch()
    np.save(tmp_path / "no_items.npy", pictures(3)[:0])
    whole = bytearray((tmp_path / "other.npz").read_bytes())
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    whole[250] ^= 1
    (tmp_path / "flipped.npz").write_bytes(whole)
    for file, shape in (("vast.npy", "(99999999999999, 8)"), ("unfinished.npy", "(99")):
        head = HEAD.format(shape).encode()
        (tmp_path / file).write_bytes(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(DataError, match=rf"^\S*{name}(?!.*loadtxt)"):
        read_arrays(tmp_path / name)


def test_float_and_channelless_pictures_are_read() -> None:
    items = pictures(4)
    assert (as_items(items[..., 0]) == items).all()
    assert (as_items(items / np.float32(255)) == items).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 8, 8, 2), np.uint8),
        np.full((3, 8, 8, 1), 7.0),
        np.zeros((3, 8, 8), np.int16),
        np.zeros(5),
        np.zeros((0, 5)),
        np.array([[1.0, np.nan]]),
        np.array([["a", "b"]]),
    ],
    ids=["two channels", "floats over 1", "int16 pictures", "one side", "no items", "nan", "words"],
)
def test_arrays_of_invalid_shape_are_rejected(array: Any) -> None:
    with pytest.raises(DataError):
        as_items(array)

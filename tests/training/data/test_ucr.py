"""Data of the UCR archive: one class is trained on, the test file is not read."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data import load
from training.data.ucr import UcrSection, read_ucr
from training.errors import DataError


def write(folder: Path, split: str, labels: list[int], values: NDArray[np.float64]) -> None:
    folder.mkdir(exist_ok=True)
    rows = np.column_stack([labels, values])
    np.savetxt(folder / f"Beats_{split}.tsv", rows, delimiter="\t")


def test_only_the_normal_class_is_trained_on(tmp_path: Path) -> None:
    values = np.arange(40.0).reshape(10, 4)
    write(tmp_path, "TRAIN", [1, 2] * 5, values)
    data = load(UcrSection(source="ucr", path=str(tmp_path), test_fraction=0.4), None)
    together = np.concatenate([data.train, data.test])
    np.testing.assert_array_equal(together[together[:, 0].argsort()], values[::2])
    assert len(data.test) == 2


@pytest.mark.parametrize("labels", [[2, 3], []])
def test_missing_class_or_file_is_explained(labels: list[int], tmp_path: Path) -> None:
    if labels:
        write(tmp_path, "TRAIN", labels, np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"set data\.normal" if labels else "TRAIN"):
        UcrSection(source="ucr", path=str(tmp_path)).read(None)


def test_series_and_classes_of_a_split_are_read(tmp_path: Path) -> None:
    write(tmp_path, "TEST", [1, 5], np.array([[0.5, 1], [2, 3]]))
    series, labels = read_ucr(tmp_path, "TEST")
    assert series.tolist() == [[0.5, 1], [2, 3]]
    assert labels.tolist() == [1, 5]

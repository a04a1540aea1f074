"""Labelled time series as the UCR archive stores them (Dau et al. 2019): NAME_TRAIN.tsv and NAME_TEST.tsv.

Each line is the class of a series and its values. Anomaly detection trains on one class only.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import DataSection, Dataset, TestFraction, hold_out, locate
from training.errors import DataError
from training.schema import NOT_STATED


class UcrSection(DataSection):
    """The series of one class of a data set of the UCR archive, float32 N,F, for anomaly detection.

    Only the training file is read. A part of its series is held out, so that the threshold of a model depends on no
    anomalies and on nothing of the test file.
    """

    source: Literal["ucr"]
    path: str
    """Folder of the two files, relative to the data folder given, or else to where the command runs."""
    normal: int = 1
    """The class that is trained on."""
    licence: str = NOT_STATED
    """Of the series."""
    test_fraction: TestFraction = 0.2
    """Share of the series that is held out."""

    def read(self, folder: Path | None) -> Dataset:
        root = locate(folder, self.path)
        series, labels = read_ucr(root, "TRAIN")
        chosen = series[labels == self.normal]
        if len(chosen) < 2:
            raise DataError(f"{root} has no series of class {self.normal}, only {sorted(set(labels))}: set data.normal")
        train, test = hold_out(chosen, self.test_fraction)
        return Dataset(root.name, self.licence, train, test, test_name=f"held-out series of class {self.normal}")


def read_ucr(root: Path, split: Literal["TRAIN", "TEST"]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the series float32 (N, F) and the classes int64 (N,) of a split. Raises DataError."""
    files = sorted(root.glob(f"*_{split}.tsv"))
    if len(files) != 1:
        raise DataError(f"{root} must contain one file *_{split}.tsv, as the UCR archive has it, not {len(files)}")
    try:
        table = np.loadtxt(files[0], dtype=np.float64, delimiter="\t", ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(f"{files[0]} is not a table of numbers with tabs: {error}") from error
    if table.shape[1] < 2 or not np.isfinite(table).all():
        raise DataError(f"{files[0]} has missing or infinite values, or no series")
    return table[:, 1:].astype(np.float32), table[:, 0].astype(np.int64)

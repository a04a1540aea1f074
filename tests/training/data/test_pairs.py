"""Pairs of noisy and clean pictures: matching and selection."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import png
from training.data.pairs import PairsSection, middle
from training.errors import DataError


def scene(number: int, height: int = 20, width: int = 30) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with five pairs: noisy picture n is scene n, clean picture n is scene 100 + n."""
    (tmp_path / "real").mkdir()
    for number in range(5):
        (tmp_path / "real" / f"{number}_real.png").write_bytes(png(scene(number)))
        (tmp_path / "real" / f"{number}_mean.png").write_bytes(png(scene(100 + number)))
    return tmp_path


def section(**changes: Any) -> PairsSection:
    return PairsSection(path="real", noisy="_real", clean="_mean", side=16).model_copy(update=changes)


@pytest.mark.parametrize(("part", "numbers"), [("all", [0, 1, 2, 3, 4]), ("odd", [0, 2, 4]), ("even", [1, 3])])
def test_pairs_are_center_crops_of_the_selected_part(folder: Path, part: str, numbers: list[int]) -> None:
    pairs = section(part=part).read(folder)
    assert pairs
    for index, number in enumerate(numbers):
        assert np.array_equal(pairs.noisy[index], scene(number)[2:18, 7:23])
        assert np.array_equal(pairs.clean[index], scene(100 + number)[2:18, 7:23])
    assert len(pairs.noisy) == len(pairs.clean) == len(numbers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"noisy": "_raw"}, "ends in _raw"), ({"clean": "_truth"}, "0_truth.png is missing"), ({"side": 24}, "30x20")],
)
def test_missing_picture_of_a_pair_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        section(**changes).read(folder)


def test_missing_folder_means_no_pairs(tmp_path: Path) -> None:
    assert section().read(tmp_path) is None


def test_center_crop_is_a_copy() -> None:
    pixels = scene(1)
    assert not np.shares_memory(middle(pixels, 8), pixels)

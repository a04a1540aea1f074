"""Photographs as training data: squares that cover every picture, and their cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import png
from training.data import Dataset, load, photos
from training.data.photos import PhotosSection, tile_squares
from training.errors import DataError
from training.loop.batches import Batches

Pixels = NDArray[np.uint8]
SIDE = 16


def scene(height: int, width: int, seed: int = 0, channels: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return two folders with twenty pictures, one of them grey, and set a separate cache."""
    monkeypatch.setattr(photos, "cache_folder", lambda: tmp_path / "cache")
    for number in range(20):
        place = tmp_path / ("own" if number % 2 else "other")
        place.mkdir(exist_ok=True)
        picture = scene(40, 50, number, channels=1 if number == 4 else 3)
        (place / f"{number:02}.png").write_bytes(png(picture))
    return tmp_path


def section(**changes: Any) -> PhotosSection:
    fields = {"paths": ["own", "other"], "licence": "CC0-1.0", "side": SIDE, "test_side": 24, "test_fraction": 0.1}
    return PhotosSection.model_validate({"source": "photos", **fields, **changes})


def read(folder: Path, **changes: Any) -> Dataset:
    return load(section(**changes), folder)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 16), (40, 50), (33, 100)])
def test_squares_cover_the_picture(height: int, width: int) -> None:
    places = np.arange(height * width).reshape(height, width, 1)
    squares = tile_squares(places.astype(np.uint8), SIDE)
    assert squares.shape[1:] == (SIDE, SIDE, 1)
    assert len(squares) == -(-height // SIDE) * -(-width // SIDE)
    assert len(np.unique(tile_squares(places, SIDE))) == height * width  # pyright: ignore[reportArgumentType]


def test_train_and_test_squares_are_of_different_pictures(folder: Path) -> None:
    data = read(folder)
    assert data.train.shape == (18 * 12, SIDE, SIDE, 3)
    assert data.test.shape == (2, 24, 24, 3)
    corners = {square[:4, :4].tobytes() for square in data.train}
    assert all(middle[at : at + 4, left : left + 4].tobytes() not in corners for middle in data.test
               for at in range(20) for left in range(20))  # fmt: skip


def test_test_path_is_the_named_test_set(folder: Path) -> None:
    data = read(folder, paths=["own"], test_path="other")
    assert data.train.shape[0] == 10 * 12
    assert (data.test.shape[0], data.test_name) == (10, "other")
    grey = data.test[2]
    assert (grey == grey[:, :, :1]).all()


def test_pictures_are_decoded_once_then_memory_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(folder, paths=["own"], test_path="other")
    assert isinstance(first.train, np.memmap)

    def fail(*_: Any) -> Any:
        raise AssertionError("decoded again")

    monkeypatch.setattr(photos, "tile_squares", fail)
    again = read(folder, paths=["own"], test_path="other")
    assert again.sha256 == first.sha256
    batch = Batches(again.train, 4, 0).get(torch.tensor([3, 0]))
    assert (batch[1].permute(1, 2, 0).numpy() == first.train[0].astype(np.float32) / 255).all()


def test_changed_picture_is_read_again(folder: Path) -> None:
    before = read(folder, paths=["own"], test_path="other").sha256
    (folder / "own" / "01.png").write_bytes(png(scene(40, 50, 99)))
    assert read(folder, paths=["own"], test_path="other").sha256 != before


def test_interrupted_read_leaves_no_partial_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = photos.tile_squares
    left = iter(range(3))

    def dying(pixels: Pixels, side: int) -> Pixels:
        next(left)  # raises StopIteration before the end
        return whole(pixels, side)

    monkeypatch.setattr(photos, "tile_squares", dying)
    with pytest.raises(RuntimeError):
        read(folder)
    assert list((folder / "cache").rglob("*.squares")) == []
    monkeypatch.setattr(photos, "tile_squares", whole)
    assert len(read(folder).train) == 18 * 12


def test_too_small_pictures_are_skipped_and_reported(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "own" / "zz.png").write_bytes(png(scene(8, 50)))
    assert len(read(folder, paths=["own"], test_path="other").train) == 10 * 12
    assert "1 of 11 pictures are skipped" in caplog.text


def test_test_folder_must_not_be_a_training_folder(folder: Path) -> None:
    (folder / "own" / "within").mkdir()
    (folder / "own" / "within" / "a.png").write_bytes(png(scene(40, 50, 77)))
    with pytest.raises(DataError, match="remove it from one"):
        read(folder, paths=["own"], test_path="own/within")


def test_only_small_pictures_are_an_error_with_a_remedy(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data\.side"):
        read(folder, paths=["own"], side=64, test_path="other")
    with pytest.raises(DataError, match="does not exist"):
        read(folder, paths=["nowhere"])


def test_min_detail_drops_flat_squares(folder: Path) -> None:
    half = scene(32, 64)
    half[:, :32] = 100  # smooth: four of its eight squares
    (folder / "half").mkdir()
    (folder / "half" / "a.png").write_bytes(png(half))
    every = read(folder, paths=["half"], test_path="other")
    some = read(folder, paths=["half"], test_path="other", min_detail=8)
    assert (len(every.train), len(some.train)) == (8, 4)
    assert (some.train != 100).any(axis=(1, 2, 3)).all()

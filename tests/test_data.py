"""Data sets: every form that is read, and that what is broken is named, skipped or refused."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.recipes import pictures
from training.arrays import Items
from training.data import ArraysSection, Data, FolderSection, hold_out, load, read_folder, read_idx
from training.errors import DataError
from training.recipe import read_recipe


def folder_section(path: Path, **changes: Any) -> FolderSection:
    said = {"name": "folder", "path": str(path), "height": 8, "width": 8, "channels": 1, "licence": "CC0-1.0"}
    return FolderSection.model_validate(said | changes)


def save_pictures(folder: Path, items: Items) -> None:
    for number, item in enumerate(items):
        Image.fromarray(item[:, :, 0]).save(folder / f"{number:03}.png")


def test_idx_holds_pictures() -> None:
    items = pictures(3)
    content = struct.pack(">IIII", 0x803, 3, 8, 8) + items.tobytes()
    assert (read_idx(content) == items).all()
    for broken in (content[:-1], content + b"\0", content[:15], b"", b"\0\0\x08\x01" + content[4:]):
        with pytest.raises(DataError):
            read_idx(broken)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    items = pictures(5)
    save_pictures(tmp_path, items)
    (tmp_path / "notes.txt").write_text("no picture")
    assert (read_folder(tmp_path, folder_section(tmp_path)) == items).all()


def test_pictures_are_fitted_to_the_recipes_size_and_colour(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 100, 50)).save(tmp_path / "a.jpg", quality=95)
    Image.new("RGBA", (5, 9), (255, 255, 255, 0)).save(tmp_path / "b.png")
    grey, black = read_folder(tmp_path, folder_section(tmp_path, height=6, width=7))
    assert grey.shape == (6, 7, 1)
    assert np.abs(grey.astype(int) - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).max() <= 2
    assert not black.any()
    assert read_folder(tmp_path, folder_section(tmp_path, channels=3)).shape == (2, 8, 8, 3)


def test_a_broken_picture_is_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_pictures(tmp_path, pictures(10))
    (tmp_path / "004.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    assert len(read_folder(tmp_path, folder_section(tmp_path, broken=0.1))) == 9
    assert "004.png" in caplog.text
    with pytest.raises(DataError, match="1 of 10 pictures"):
        read_folder(tmp_path, folder_section(tmp_path, broken=0.09))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        read_folder(tmp_path / "none", folder_section(tmp_path))


def test_what_is_held_out_is_fixed_and_nothing_is_lost() -> None:
    items = np.arange(50, dtype=np.float32)[:, np.newaxis]
    rest, held = hold_out(items, 0.2, seed=3)
    assert (len(rest), len(held)) == (40, 10)
    assert sorted(np.concatenate([rest, held])[:, 0]) == list(range(50))
    assert (hold_out(items, 0.2, seed=3)[1] == held).all()
    assert (hold_out(items, 0.2, seed=4)[1] != held).any()
    assert len(hold_out(items, 0.0)[1]) == 0
    with pytest.raises(DataError, match="cannot be split"):
        hold_out(items[:2], 0.1)


def test_the_hash_is_of_type_shape_and_content() -> None:
    items = pictures(4)
    changed = items.copy()
    changed[3, 7, 7, 0] ^= 1
    sets: list[Items] = [items, changed, items.reshape(4, 64, 1, 1), items[:3]]
    assert len({Data("a", "b", train, items).sha256 for train in sets}) == 4
    assert Data("c", "d", items.copy(), changed).sha256 == Data("a", "b", items, items).sha256


def test_a_section_is_loaded_from_the_folder_given(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(10))
    section = ArraysSection(name="arrays", path="a.npy", licence="CC0-1.0", items=4)
    data = load(section, tmp_path)
    assert (data.name, data.licence, len(data.train), len(data.test)) == ("a.npy", "CC0-1.0", 4, 1)


def test_an_archive_keeps_its_own_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=pictures(5), test=pictures(2, seed=1))
    data = load(ArraysSection(name="arrays", path="a.npz", licence="CC0-1.0"), tmp_path)
    assert (data.train == pictures(5)).all()
    assert (data.test == pictures(2, seed=1)).all()


@pytest.mark.skipif("HOURGLASS_DATA" not in os.environ, reason="HOURGLASS_DATA names no folder with the real MNIST")
def test_the_real_digits_are_all_there() -> None:
    data = load(read_recipe("digits").data, Path(os.environ["HOURGLASS_DATA"]))
    assert (data.train.shape, data.test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert abs(data.train.mean() / 255 - 0.1307) < 1e-4

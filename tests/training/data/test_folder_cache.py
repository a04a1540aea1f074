"""Folders of images: copies, broken files, and the file of decoded images that large folders are mapped from."""

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.training import pictures
from training.data import folder as folder_module
from training.data import pixel_cache
from training.data.folder import FolderSection
from training.errors import DataError


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of 20 images, one of them twice, a broken one, and what other systems leave behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "my images"
    (root / "nested").mkdir(parents=True)
    for number, pixels in enumerate(pictures(20)):
        place = root / ("nested" if number % 2 else ".")
        Image.fromarray(pixels[:, :, 0]).save(place / f"{number}.{'png' if number % 3 else 'bmp'}")
    (root / "copy.png").write_bytes((root / "nested" / "1.png").read_bytes())
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "._1.png").write_bytes(b"macOS")
    return root


def section(root: Path) -> FolderSection:
    """Return the section of a folder whose images become 8x8 and grey."""
    return FolderSection(source="folder", path=str(root), height=8, width=8, channels=1, max_broken_fraction=0.1)


def test_copies_are_left_out_and_broken_files_skipped(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = section(images).read(None)
    assert len(data.train) + len(data.test) == 20
    assert "1 of 22 pictures are copies of others and are left out" in caplog.text
    assert "broken.jpg is skipped" in caplog.text


def test_mapped_images_are_those_in_memory(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = section(images).read(None)
    monkeypatch.setattr(folder_module, "MAX_MEMORY_BYTES", 0)
    for _ in range(2):  # decoded, then from the cache
        mapped = section(images).read(None)
        assert isinstance(mapped.train, np.memmap)
        assert (mapped.train == expected.train).all()
        assert (mapped.test == expected.test).all()


def test_stopped_decoding_continues_where_it_was(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = section(images).read(None)
    monkeypatch.setattr(folder_module, "MAX_MEMORY_BYTES", 0)
    read, calls = folder_module.read_image, list[Path]()

    def interrupted(path: Path, seen: set[bytes]) -> folder_module.Reading:
        calls.append(path)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return read(path, seen)

    monkeypatch.setattr(folder_module, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        section(images).read(None)
    resumed = section(images).read(None)
    assert len(calls) == 22 + 1  # only the file that was interrupted is read twice
    assert (resumed.train == expected.train).all()


def test_full_disk_leaves_no_cache_behind(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_MEMORY_BYTES", 0)

    def full(_array: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_cache.np, "ascontiguousarray", full)
    with pytest.raises(OSError, match="No space left"):
        section(images).read(None)
    assert not list((tmp_path / "cache/hourglass/folders").iterdir())


def test_identical_images_are_refused(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(pictures(1)[0, :, :, 0]).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="all 12 pictures are the same"):
        section(tmp_path).read(None)


def test_folder_of_broken_images_is_refused(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 12 pictures can be read"):
        section(tmp_path).read(None)


def test_file_in_place_of_a_folder_is_refused(images: Path) -> None:
    with pytest.raises(DataError, match="is a file: name the folder that it is in"):
        section(images / "0.bmp").read(None)

"""Folders of images: copies, broken files, and the file of decoded images that large folders are mapped from."""

import errno
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image

from tests.support.training import pictures
from training.data import folder as folder_module
from training.data import pixel_cache
from training.data.dataset import held_out_mask
from training.data.folder import FolderSection
from training.data.pixel_cache import JOURNAL
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


READER = """
import sys
from training.data import folder
folder.MAX_MEMORY_BYTES = 0
folder.FolderSection(source="folder", path=sys.argv[1], height=32, width=32, channels=3).read(None)
"""


def kill_when_read(root: Path, cache: Path, records: int) -> int:
    """Read a folder in another process, kill it once the journal has so many records, and return how many it has."""
    with subprocess.Popen((sys.executable, "-c", READER, str(root))) as process:
        deadline = monotonic() + 300
        while (size := sum(path.stat().st_size for path in cache.glob("*.journal"))) < records * JOURNAL.itemsize:
            assert process.poll() is None, "it ended before it was killed"
            assert monotonic() < deadline
            sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return size // JOURNAL.itemsize


@pytest.mark.slow
def test_killed_process_loses_no_image_of_five_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, cache = tmp_path / "images", tmp_path / "cache/hourglass/folders"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (5000, 32, 32, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{number:04}.png", compress_level=1)
    first = kill_when_read(root, cache, 500)
    assert first < len(pixels)
    assert kill_when_read(root, cache, first + 1000) < len(pixels)
    monkeypatch.setattr(folder_module, "MAX_MEMORY_BYTES", 0)
    read, calls = folder_module.read_image, list[Path]()

    def counted(path: Path, seen: set[bytes]) -> folder_module.Reading:
        calls.append(path)
        return read(path, seen)

    monkeypatch.setattr(folder_module, "read_image", counted)
    data = FolderSection(source="folder", path=str(root), height=32, width=32, channels=3).read(None)
    assert len(calls) <= len(pixels) - first - 1000  # what is in the journal is not read again
    held = held_out_mask(len(pixels), 0.1)
    assert np.array_equal(data.train, pixels[~held])
    assert np.array_equal(data.test, pixels[held])


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

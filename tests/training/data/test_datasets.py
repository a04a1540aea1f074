"""Data sets: every supported form; corrupt files are named, skipped or rejected."""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.codec import decode
from service.config import Settings
from service.engine.images import preprocess
from service.errors import Problem
from service.repository.layout import load_card
from tests.service.codec.test_fast_paths import PLAIN, SPECIAL
from tests.support.compatibility import accepts, refuses
from tests.support.training import pictures
from training.data import Dataset, Items, hold_out, load
from training.data.arrays import ArraysSection
from training.data.folder import FolderSection, find_pictures, read_folder
from training.data.idx import read_idx, read_labels
from training.data.patches import PatchesSection, whiten
from training.data.surface import SurfaceSection, cylinder_points
from training.errors import DataError
from training.recipe import read_recipe


def folder_section(path: Path, **changes: Any) -> FolderSection:
    said = {"source": "folder", "path": str(path), "height": 8, "width": 8, "channels": 1, "licence": "CC0-1.0"}
    return FolderSection.model_validate(said | changes)


def save_pictures(folder: Path, items: Items) -> None:
    for number, item in enumerate(items):
        Image.fromarray(item[:, :, 0]).save(folder / f"{number:03}.png")


def test_idx_pictures_are_read() -> None:
    items = pictures(3)
    content = struct.pack(">IIII", 0x803, 3, 8, 8) + items.tobytes()
    assert (read_idx(content) == items).all()
    for broken in (content[:-1], content + b"\0", content[:15], b"", b"\0\0\x08\x01" + content[4:]):
        with pytest.raises(DataError):
            read_idx(broken)


def test_idx_labels_are_read() -> None:
    content = struct.pack(">II", 0x801, 4) + bytes([3, 0, 9, 1])
    assert read_labels(content).tolist() == [3, 0, 9, 1]
    for broken in (content[:-1], content + b"\0", content[:7], b"", b"\0\0\x08\x03" + content[4:]):
        with pytest.raises(DataError):
            read_labels(broken)


def test_folder_is_read_in_path_order(tmp_path: Path) -> None:
    items = pictures(5)
    save_pictures(tmp_path, items)
    (tmp_path / "notes.txt").write_text("no picture")
    assert (read_folder(tmp_path, folder_section(tmp_path)) == items).all()


@accepts(
    23,
    "training: files of systems in a folder are ignored, as by the command line",
    oracle="the plain folder",
    cases="{name}",
)
@pytest.mark.parametrize(
    "name",
    ["._000.png", ".x.png", "__MACOSX/._000.png", ".DS_Store", "Thumbs.db", "@eaDir/x.png/y.png", "lost+found/x.png"],
)
def test_system_files_are_no_pictures(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    items = pictures(3)
    save_pictures(tmp_path, items)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"no picture")
    assert (read_folder(tmp_path, folder_section(tmp_path, max_broken_fraction=0)) == items).all()
    assert not caplog.text


@accepts(23, "training: empty files and pictures of other formats are left out with a warning", oracle="the log")
def test_files_that_are_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_pictures(tmp_path, pictures(3))
    (tmp_path / "empty.png").touch()
    (tmp_path / "a.HEIC").write_bytes(b"heic")
    (tmp_path / "b.heic").write_bytes(b"heic")
    assert len(read_folder(tmp_path, folder_section(tmp_path, max_broken_fraction=0))) == 3
    assert "2 .heic, 1 .png" in caplog.text


@refuses(23, "training: an unreadable folder inside a folder", because="it is named")
def test_unreadable_folder_is_named(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads every folder")
    save_pictures(tmp_path, pictures(3))
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match="closed cannot be read"):
        find_pictures(tmp_path)


def test_pictures_are_fitted_to_size_and_channels(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 100, 50)).save(tmp_path / "a.jpg", quality=95)
    Image.new("RGBA", (5, 9), (255, 255, 255, 0)).save(tmp_path / "b.png")
    grey, black = read_folder(tmp_path, folder_section(tmp_path, height=6, width=7))
    assert grey.shape == (6, 7, 1)
    assert np.abs(grey.astype(int) - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).max() <= 2
    assert not black.any()
    assert read_folder(tmp_path, folder_section(tmp_path, channels=3)).shape == (2, 8, 8, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_preprocessed_as_in_the_service(tmp_path: Path, models: Path, channels: int) -> None:
    card = load_card(models / "digits" / "1")
    card = card.model_copy(update={"input": card.input.model_copy(update={"channels": channels})})
    served: list[Items] = []
    for number, (name, blob) in enumerate({**PLAIN, **SPECIAL}.items()):
        (tmp_path / f"{number:02} {name}.png").write_bytes(blob)
        with suppress(Problem):  # what the service rejects is skipped
            picture = decode(blob, formats=Settings().allowed_formats, max_pixels=1000)
            served.append(preprocess(picture, card, "reconstruct", Settings()))
    assert len(served) > 20
    assert (
        read_folder(tmp_path, folder_section(tmp_path, channels=channels, max_broken_fraction=0.5)) == np.stack(served)
    ).all()


def test_corrupt_picture_is_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_pictures(tmp_path, pictures(10))
    (tmp_path / "004.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    assert len(read_folder(tmp_path, folder_section(tmp_path, max_broken_fraction=0.1))) == 9
    assert "004.png" in caplog.text
    with pytest.raises(DataError, match="1 of 10 pictures"):
        read_folder(tmp_path, folder_section(tmp_path, max_broken_fraction=0.09))


def test_folder_without_pictures_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_folder(tmp_path / "none", folder_section(tmp_path))


def test_single_picture_is_rejected(tmp_path: Path) -> None:
    save_pictures(tmp_path, pictures(1))
    with pytest.raises(DataError, match="of 1 items cannot be held out"):
        load(folder_section(tmp_path), None)


def test_held_out_items_are_fixed_and_complete() -> None:
    items = np.arange(50, dtype=np.float32)[:, np.newaxis]
    rest, held = hold_out(items, 0.2, seed=3)
    assert (len(rest), len(held)) == (40, 10)
    assert sorted(np.concatenate([rest, held])[:, 0]) == list(range(50))
    assert (hold_out(items, 0.2, seed=3)[1] == held).all()
    assert (hold_out(items, 0.2, seed=4)[1] != held).any()
    assert len(hold_out(items, 0.0)[1]) == 0
    with pytest.raises(DataError, match="cannot be held out"):
        hold_out(items[:2], 0.1)


def test_hash_depends_on_dtype_shape_and_content() -> None:
    items = pictures(4)
    changed = items.copy()
    changed[3, 7, 7, 0] ^= 1
    sets: list[Items] = [items, changed, items.reshape(4, 64, 1, 1), items[:3]]
    assert len({Dataset("a", "b", train, items).sha256 for train in sets}) == 4
    assert Dataset("c", "d", items.copy(), changed).sha256 == Dataset("a", "b", items, items).sha256


def test_section_is_loaded_from_the_given_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(10))
    section = ArraysSection(source="arrays", path="a.npy", licence="CC0-1.0", limit=4)
    data = load(section, tmp_path)
    assert (data.name, data.licence, len(data.train), len(data.test)) == ("a.npy", "CC0-1.0", 4, 1)


def test_npz_test_set_is_used(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=pictures(5), test=pictures(2, seed=1))
    data = load(ArraysSection(source="arrays", path="a.npz", licence="CC0-1.0"), tmp_path)
    assert (data.train == pictures(5)).all()
    assert (data.test == pictures(2, seed=1)).all()


def test_npz_array_is_selected_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", faces=pictures(10), trees=pictures(4, seed=1))
    data = load(ArraysSection(source="arrays", path="a.npz", array="faces", licence="CC0-1.0"), tmp_path)
    assert len(data.train) + len(data.test) == 10
    np.savez(tmp_path / "b.npz", train=pictures(9), test=np.zeros((4, 9, 9, 1), np.uint8))
    with pytest.raises(DataError, match=r"training items are uint8 \(8, 8, 1\) and the test items uint8 \(9, 9, 1\)"):
        load(ArraysSection(source="arrays", path="b.npz", licence="CC0-1.0"), tmp_path)
    with pytest.raises(DataError, match="no array named train"):
        load(ArraysSection(source="arrays", path="a.npz", licence="CC0-1.0"), tmp_path)


def test_npz_labels_are_read(tmp_path: Path) -> None:
    section = ArraysSection(source="arrays", path="a.npz", licence="CC0-1.0")
    labels = np.array([0, 1, 2, 0, 1], np.uint8)
    np.savez(tmp_path / "a.npz", train=pictures(5), test=pictures(2), train_labels=labels, test_labels=labels[:2])
    data = load(section, tmp_path)
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([0, 1, 2, 0, 1], [0, 1])
    np.savez(tmp_path / "a.npz", train=pictures(5), test=pictures(2), train_labels=labels[:4], test_labels=labels[:2])
    with pytest.raises(DataError, match="one integer per item"):
        load(section, tmp_path)


def test_limit_applies_to_labels_too() -> None:
    labels = np.arange(5)
    data = Dataset("a", "b", pictures(5), pictures(2), labels, labels[:2]).head(3)
    assert data.train_labels is not None
    assert (len(data.train), data.train_labels.tolist(), len(data.test)) == (3, [0, 1, 2], 2)


def test_surface_is_curved_and_reproducible() -> None:
    points = cylinder_points(500, 90, 0.0, seed=1)
    assert (points == cylinder_points(500, 90, 0.0, seed=1)).all()
    assert (points != cylinder_points(500, 90, 0.0, seed=2)).any()
    np.testing.assert_allclose(np.hypot(points[:, 0] - 0.1, points[:, 2] - 0.1), 0.8, atol=1e-6)
    assert 0 < points.min() < points.max() < 1
    assert cylinder_points(500, 30, 0.0, seed=1)[:, 2].max() == pytest.approx(0.1 + 0.8 * 0.5, abs=0.01)
    assert len(load(SurfaceSection(source="surface", limit=100), None).train) == 100


def test_whitening_flattens_the_spectrum() -> None:
    rings = np.hypot(np.fft.fftfreq(128)[:, np.newaxis], np.fft.fftfreq(128))
    white = np.fft.fft2(np.random.default_rng(0).normal(size=(128, 128)))
    natural = np.fft.ifft2(white / np.maximum(rings, 1e-3)).real.astype(np.float32)

    def power(picture: NDArray[Any], low: float, high: float) -> float:
        return float(np.square(np.abs(np.fft.fft2(picture)))[(rings >= low) & (rings < high)].mean())

    before, after = (power(picture, 0.02, 0.05) / power(picture, 0.2, 0.25) for picture in (natural, whiten(natural)))
    assert before > 20
    assert 0.5 < after < 2


def test_patches_are_vectors_without_a_mean(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        noise = random.integers(0, 256, (90, 60 + number, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    section = PatchesSection(source="patches", path=".", side=6, count=300, licence="CC0-1.0")
    data = load(section, tmp_path)
    assert (data.train.shape, data.test.shape, data.train.dtype) == ((270, 36), (30, 36), np.float32)
    assert data.train.std() == pytest.approx(1, abs=0.02)
    assert np.abs(data.train.mean(1)).max() < 1e-5
    assert (load(section, tmp_path).train == data.train).all()
    with pytest.raises(DataError, match="too small"):
        load(section.model_copy(update={"side": 40}), tmp_path)


def test_patches_have_unit_contrast_except_the_faintest(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(90, 90))
    contrast = np.where(np.arange(90) < 45, 5, 60)
    Image.fromarray(np.uint8(np.clip(128 + contrast * noise, 0, 255))).save(tmp_path / "a.png")
    deviations = load(
        PatchesSection(source="patches", path=".", side=6, count=300, licence="CC0-1.0"), tmp_path
    ).train.std(1)
    assert np.percentile(deviations, 90) / np.median(deviations) < 1.5
    assert deviations.min() < 0.5 * np.median(deviations)


@pytest.mark.skipif("HOURGLASS_DATA" not in os.environ, reason="HOURGLASS_DATA names no folder with the real MNIST")
def test_installed_digits_are_complete() -> None:
    data = load(read_recipe("digits").data, Path(os.environ["HOURGLASS_DATA"]))
    assert (data.train.shape, data.test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert abs(data.train.mean() / 255 - 0.1307) < 1e-4
    assert data.test_labels is not None
    assert data.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]

"""Models through links: ConfigMaps, DVC, caches of hubs; and log lines of folders that cannot be read."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.errors import ModelRejected
from service.repository import safe_read
from service.repository.store import Store
from service.repository.watcher import eventless_file_system
from service.runtime.providers import Device
from service.runtime.tuning import LoadOptions
from tests.support.compatibility import accepts, refuses


def load(folder: Path, *others: Path) -> Store:
    options = LoadOptions(Device(), 1, 4, ThreadPoolExecutor(1), 1, link_dirs=(folder, *others))
    store = Store(folder, options, max_old_versions=1)
    store.refresh()
    return store


def link_files(version: Path, place: Path, *, through: str = "") -> None:
    """Move the files of a version to a place, and link to them."""
    files = list(version.iterdir())
    place.mkdir(parents=True)
    for file in files:
        shutil.move(file, place / file.name)
        file.symlink_to((version / through if through else place) / file.name)


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    shutil.copytree(models / "digits", tmp_path / "models/digits")
    return tmp_path / "models"


@accepts(21, "a ConfigMap with its link `..data`", oracle="the loaded models")
def test_a_config_map_with_its_data_link_is_loaded(folder: Path) -> None:
    version = folder / "digits/1"
    link_files(version, version / "..2026_11_29", through="..data")
    (version / "..data").symlink_to("..2026_11_29")
    assert list(load(folder).snapshot.loaded) == ["digits"]


@accepts(
    21,
    "links into a folder of `HOURGLASS_MODEL_LINK_DIRS`; others are refused with that hint",
    oracle="the loaded models",
)
def test_links_into_a_folder_of_the_setting_are_followed(folder: Path, tmp_path: Path) -> None:
    link_files(folder / "digits/1", tmp_path / "cache/blobs")
    store = load(folder)
    (rejected,) = store.snapshot.rejected.values()
    assert "HOURGLASS_MODEL_LINK_DIRS" in rejected.reason
    assert list(load(folder, tmp_path / "cache").snapshot.loaded) == ["digits"]


@refuses(21, "a link to a device", because="only regular files are read")
def test_a_link_to_a_device_is_refused(folder: Path) -> None:
    card = folder / "digits/1/card.json"
    card.unlink()
    card.symlink_to("/dev/zero")
    assert not load(folder, Path("/dev")).snapshot.loaded


def test_links_are_refused_where_the_system_has_no_flag_for_that(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_read, "NO_FOLLOW", 0)  # as on Windows
    shutil.move(folder / "digits/1/card.json", tmp_path / "card.json")
    (folder / "digits/1/card.json").symlink_to(tmp_path / "card.json")
    with pytest.raises(ModelRejected, match="symbolic link"):
        safe_read.read_regular_file(folder / "digits/1/card.json")
    assert safe_read.read_regular_file(tmp_path / "card.json").startswith(b"{")


@accepts(21, "an unreadable folder: one log line", oracle="the log")
def test_an_unreadable_folder_is_logged_once(tmp_path: Path) -> None:
    store = load(tmp_path / "nowhere")
    with capture_logs() as logs:
        for _ in range(5):
            store.refresh()
    assert not logs


@accepts(21, "`lost+found` in the models folder", oracle="the rejected models")
def test_lost_and_found_is_no_model(folder: Path) -> None:
    (folder / "lost+found/1").mkdir(parents=True)
    assert not load(folder).snapshot.rejected


@accepts(21, "file systems without change events are polled", oracle="mountinfo of Linux", cases="{kind}")
@pytest.mark.parametrize(
    ("kind", "eventless"), [("nfs4", True), ("cifs", True), ("9p", True), ("fuse.sshfs", True), ("ext4", False)]
)
def test_a_file_system_without_events_is_noticed(tmp_path: Path, kind: str, eventless: bool) -> None:
    (tmp_path / "info").write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda rw\n30 22 0:40 / {tmp_path}/models rw shared:1 - {kind} server:/x rw\n"
    )
    (tmp_path / "models/deep").mkdir(parents=True)
    assert eventless_file_system(tmp_path / "models/deep", tmp_path / "info") == (kind if eventless else None)
    assert eventless_file_system(tmp_path, tmp_path / "info") is None

"""Downloads: the search order of data, and the check of its hashes."""

import gzip
import hashlib
from pathlib import Path

import pytest

from training.data.downloads import DATASETS, DatasetFiles, cache_folder, fetch
from training.errors import DataError

CONTENT = {"train": b"a thousand pictures", "test": b"a hundred pictures"}


def dataset(*urls: Path, folders: tuple[Path, ...] = ()) -> DatasetFiles:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return DatasetFiles("tiny", "CC0-1.0", hashes, tuple(f"{url.as_uri()}/" for url in urls), folders)


def fill(folder: Path, *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", ["", "tiny"])
def test_given_folder_is_searched_first(tmp_path: Path, inside: str, packed: bool) -> None:
    given_folder = fill(tmp_path / "given" / inside, packed=packed)
    system, cache = fill(tmp_path / "system"), tmp_path / "cache"
    fill(cache / "tiny")
    paths = fetch(dataset(folders=(system,)), tmp_path / "given", cache)
    assert {name: file.content for name, file in paths.items()} == CONTENT
    assert {file.path.parent for file in paths.values()} == {given_folder}


def test_search_order_is_system_cache_download(tmp_path: Path) -> None:
    system, cache, mirror = tmp_path / "system", tmp_path / "cache", fill(tmp_path / "mirror")
    source = dataset(tmp_path / "down", mirror, folders=(system,))
    fetch(source, tmp_path, cache)
    assert sorted(path.name for path in (cache / "tiny").iterdir()) == ["test.gz", "train.gz"]
    for path in mirror.iterdir():
        path.unlink()
    assert fetch(source, None, cache)["train"].path == cache / "tiny" / "train.gz"
    fill(system)
    assert fetch(source, None, cache)["train"].path == system / "train.gz"


@pytest.mark.parametrize("position", [0, 9, 18])
def test_corrupt_file_is_skipped_with_a_warning(
    tmp_path: Path, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    given_folder, system = fill(tmp_path / "given", packed=False), fill(tmp_path / "system")
    broken = bytearray(CONTENT["train"])
    broken[position] ^= 1
    (given_folder / "train").write_bytes(broken)
    paths = fetch(dataset(folders=(system,)), given_folder, tmp_path / "cache")
    assert paths["train"].path == system / "train.gz"
    assert paths["train"].content == CONTENT["train"]
    assert "train is skipped" in caplog.text


def test_truncated_archive_is_skipped(tmp_path: Path) -> None:
    given_folder = fill(tmp_path / "given")
    (given_folder / "train.gz").write_bytes((given_folder / "train.gz").read_bytes()[:-9])
    with pytest.raises(DataError):
        fetch(dataset(), given_folder, tmp_path / "cache")


def test_corrupt_download_is_not_cached(tmp_path: Path) -> None:
    mirror = fill(tmp_path / "mirror")
    (mirror / "test.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataError):
        fetch(dataset(mirror), None, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / "tiny").iterdir()] == ["train.gz"]


def test_offline_error_names_folder_and_files(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refusal:
        fetch(dataset(tmp_path / "down"), None, tmp_path / "cache")
    assert str(tmp_path / "cache" / "tiny") in str(refusal.value)
    assert "train.gz, test.gz" in str(refusal.value)


def test_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hourglass"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "hourglass"


def test_known_data_sets_have_four_distinct_files() -> None:
    hashes = [sha256 for known in DATASETS.values() for sha256 in known.files.values()]
    assert len(set(hashes)) == 8
    assert {len(bytes.fromhex(sha256)) for sha256 in hashes} == {32}

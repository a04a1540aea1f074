"""Atomic files and folders: complete or absent."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from training import atomic_files


def test_atomic_write_replaces_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"new"):
        atomic_files.write_atomic(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_failed_write_keeps_the_old_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    atomic_files.write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="full"):
        atomic_files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with atomic_files.temporary_folder(home) as beside:
        (beside / "a").write_text("a")
        assert beside.name.startswith(".tmp-")
        atomic_files.commit_folder(beside, home / "1")
    assert [path.name for path in home.iterdir()] == ["1"]
    assert (home / "1" / "a").read_text() == "a"
    with atomic_files.temporary_folder(home) as beside:
        (beside / "b").write_text("b")
        with pytest.raises(OSError, match="not empty"):
            atomic_files.commit_folder(beside, home / "1")
    assert [path.name for path in home.iterdir()] == ["1"]


def test_concurrent_reader_never_sees_partial_files(tmp_path: Path) -> None:
    place, seen = tmp_path / "home", list[Any]()

    def look(*_: Any) -> None:
        contents = {path.name: path.read_bytes() for path in place.glob("[!.]*/[!.]*")}
        if contents not in seen:
            seen.append(contents)

    with atomic_files.temporary_folder(place) as beside:
        for name in "abc":
            (beside / name).write_bytes(b"old" * 10000)
        sys.setprofile(look)  # called before and after every later call
        try:
            atomic_files.commit_folder(beside, place / "1")
            atomic_files.write_atomic(place / "1" / "a", b"new" * 10000)
        finally:
            sys.setprofile(None)
    old, new = b"old" * 10000, b"new" * 10000
    assert seen == [{}, dict.fromkeys("abc", old), {"a": new, "b": old, "c": old}]


def test_failure_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_files.temporary_folder(tmp_path / "home"):
        raise ZeroDivisionError
    assert not (tmp_path / "home").exists()


def test_next_write_removes_leftovers_of_dead_writers_only(tmp_path: Path) -> None:
    (tmp_path / ".tmp-a-dead").write_bytes(b"ne")
    (tmp_path / ".tmp-b-dead").write_bytes(b"of another file")
    with atomic_files.open_atomic(tmp_path / "a"), atomic_files.open_atomic(tmp_path / "a"):
        assert len(list(tmp_path.glob(".tmp-a-*"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".tmp-b-dead"}
    (tmp_path / "home" / ".tmp-dead" / "within").mkdir(parents=True)
    with (
        atomic_files.temporary_folder(tmp_path / "home") as one,
        atomic_files.temporary_folder(tmp_path / "home") as two,
    ):
        assert {path.name for path in (tmp_path / "home").iterdir()} == {one.name, two.name}


def test_failed_write_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        atomic_files.write_atomic(tmp_path / "a", b"new")


def test_unwritable_folder_is_detected_first(tmp_path: Path) -> None:
    atomic_files.check_writable(tmp_path / "not" / "there" / "yet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        atomic_files.check_writable(tmp_path / "file" / "below")

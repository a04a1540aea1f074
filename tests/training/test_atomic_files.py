"""Files that are whole or not there."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from training import atomic_files


def test_a_file_is_replaced_whole_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"new"):
        atomic_files.write_atomic(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    atomic_files.write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="full"):
        atomic_files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_filled_or_not_at_all(tmp_path: Path) -> None:
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


def test_at_no_moment_is_a_file_or_a_folder_half_there(tmp_path: Path) -> None:
    place, seen = tmp_path / "home", list[Any]()

    def look(*_: Any) -> None:
        found = {path.name: path.read_bytes() for path in place.glob("[!.]*/[!.]*")}
        if found not in seen:
            seen.append(found)

    with atomic_files.temporary_folder(place) as beside:
        for name in "abc":
            (beside / name).write_bytes(b"old" * 10000)
        sys.setprofile(look)  # it is called before and after every call that is made from here on
        try:
            atomic_files.commit_folder(beside, place / "1")
            atomic_files.write_atomic(place / "1" / "a", b"new" * 10000)
        finally:
            sys.setprofile(None)
    old, new = b"old" * 10000, b"new" * 10000
    assert seen == [{}, dict.fromkeys("abc", old), {"a": new, "b": old, "c": old}]


def test_a_failure_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_files.temporary_folder(tmp_path / "home"):
        raise ZeroDivisionError
    assert not (tmp_path / "home").exists()


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_another_writes_stays(tmp_path: Path) -> None:
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


def test_a_failed_write_says_of_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        atomic_files.write_atomic(tmp_path / "a", b"new")


def test_where_nothing_can_be_written_is_known_before_anything_is_made(tmp_path: Path) -> None:
    atomic_files.check_writable(tmp_path / "not" / "there" / "yet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        atomic_files.check_writable(tmp_path / "file" / "below")

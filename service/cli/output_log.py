"""Remembers which files earlier runs wrote, so that they are neither read as images nor taken for the user's own."""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

FileStamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


def state_folder() -> Path | None:
    """Return hourglass/outputs below $XDG_STATE_HOME, or below ~/.local/state; None if there is no home folder."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "hourglass" / "outputs"
    with suppress(RuntimeError):
        return Path.home() / ".local" / "state" / "hourglass" / "outputs"
    return None


class OutputLog:
    """The outputs of all runs, in one file of JSON lines per folder below `place`; without a place, of this run."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._folders: dict[Path, dict[str, FileStamp]] = {}

    def is_own(self, path: Path) -> bool:
        """Return whether a run wrote the file, and nobody has changed it since."""
        folder = _resolve(path.parent)
        state = self._entries(folder).get(path.name)
        return state is not None and state == _state(path)

    def record(self, path: Path) -> None:
        """Remember an output. A log that cannot be written is kept in memory only."""
        folder, state = _resolve(path.parent), _state(path)
        if state is None:
            return
        self._entries(folder)[path.name] = state
        if self._place:
            with suppress(OSError):
                self._place.mkdir(parents=True, exist_ok=True)
                with self._file(self._place, folder).open("a", encoding="utf-8") as file:
                    file.write(json.dumps([path.name, *state]) + "\n")

    def _entries(self, folder: Path) -> dict[str, FileStamp]:
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
        return self._folders[folder]

    def _read(self, folder: Path) -> dict[str, FileStamp]:
        entries: dict[str, FileStamp] = {}
        if self._place:
            with suppress(OSError, ValueError):  # a line that was not written to its end ends the log
                for line in self._file(self._place, folder).read_text("utf-8").splitlines():
                    entry: Any = json.loads(line)
                    entries[str(entry[0])] = (int(entry[1]), int(entry[2]))
        return entries

    @staticmethod
    def _file(place: Path, folder: Path) -> Path:
        return place / f"{sha256(os.fsencode(folder)).hexdigest()[:32]}.jsonl"


def _resolve(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _state(path: Path) -> FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

"""Records the files that earlier runs wrote, so that they are not read as images and may be overwritten."""

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
    """The outputs of all runs, in one file of JSON lines per folder of outputs.

    The files are in the folder `log_folder`; if it is None, only the outputs of this run are known.
    """

    def __init__(self, log_folder: Path | None) -> None:
        self._log_folder = log_folder
        self._folders: dict[Path, dict[str, FileStamp]] = {}

    def is_own(self, path: Path) -> bool:
        """Return whether a run wrote the file and it has the same size and modification time since."""
        folder = _resolve(path.parent)
        stamp = self._entries(folder).get(path.name)
        return stamp is not None and stamp == _stamp(path)

    def record(self, path: Path) -> None:
        """Record an output. If the log cannot be written, the record is kept in memory only."""
        folder, stamp = _resolve(path.parent), _stamp(path)
        if stamp is None:
            return
        self._entries(folder)[path.name] = stamp
        if self._log_folder:
            with suppress(OSError):
                self._log_folder.mkdir(parents=True, exist_ok=True)
                with self._file(self._log_folder, folder).open("a", encoding="utf-8") as file:
                    file.write(json.dumps([path.name, *stamp]) + "\n")

    def _entries(self, folder: Path) -> dict[str, FileStamp]:
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
        return self._folders[folder]

    def _read(self, folder: Path) -> dict[str, FileStamp]:
        entries: dict[str, FileStamp] = {}
        if self._log_folder:
            with suppress(OSError, ValueError):  # stop at a line that was written only in part
                for line in self._file(self._log_folder, folder).read_text("utf-8").splitlines():
                    entry: Any = json.loads(line)
                    entries[str(entry[0])] = (int(entry[1]), int(entry[2]))
        return entries

    @staticmethod
    def _file(log_folder: Path, folder: Path) -> Path:
        return log_folder / f"{sha256(os.fsencode(folder)).hexdigest()[:32]}.jsonl"


def _resolve(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _stamp(path: Path) -> FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

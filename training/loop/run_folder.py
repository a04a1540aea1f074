"""The folder of one run: its lock, its log and its curve."""

import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training import atomic_files
from training.errors import RunError

LOG_FILE, CURVE_FILE, PICTURES_FILE, LOCK_FILE = "log.jsonl", "curve.png", "pictures.png", "lock"


@contextmanager
def lock_run_folder(folder: Path) -> Generator[None]:
    """The folder for this process alone. Raises RunError where another one has it, or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise RunError(f"{folder} cannot hold a run ({error.strerror}): give another folder by --run") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is in use by another run: wait for it, or give another folder by --run"
            ) from error
        yield


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records so far, one an epoch. Raises RunError where the file is broken."""
    path = folder / LOG_FILE
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    except ValueError as error:
        raise RunError(f"{path} is broken ({error}): remove it, and the run goes on without") from error


def write_log(folder: Path, records: list[dict[str, Any]]) -> None:
    """All records anew, so that no line is ever half there."""
    atomic_files.write_atomic(folder / LOG_FILE, "".join(f"{json.dumps(record)}\n" for record in records).encode())

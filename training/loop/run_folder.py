"""The folder of a run: the names of its files, its lock and its log."""

import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training import atomic_files
from training.errors import RunError

LOG_FILE, CURVE_FILE, LOCK_FILE = "log.jsonl", "curve.png", "lock"
STAGE_WEIGHTS_FILE = "weights.safetensors"  # of a stage that another one starts from
PICTURES_FILE, SAMPLES_FILE = "pictures.png", "samples.png"  # of the published model, and of the best net so far


@contextmanager
def lock_run_folder(folder: Path) -> Generator[None]:
    """Create and lock the run folder. Raises RunError if another process holds the lock, or it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise RunError(
            f"cannot write a run to {folder} ({error.strerror}): choose another folder with --run"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is in use by another run: wait for it, or choose another folder with --run"
            ) from error
        yield


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the records of the log, one per epoch; none if there is no log. Raises RunError if the file is broken."""
    path = folder / LOG_FILE
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    except ValueError as error:
        raise RunError(f"{path} is broken ({error}): delete it to continue the run without its log") from error


def write_log(folder: Path, records: list[dict[str, Any]]) -> None:
    """Replace the log by these records. The write is atomic, so that no line is ever incomplete."""
    atomic_files.write_atomic(folder / LOG_FILE, "".join(f"{json.dumps(record)}\n" for record in records).encode())

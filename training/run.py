"""The folder of one run: its lock, its log, its curve; and the signals that end it politely."""

import fcntl
import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import durable
from training.errors import RunError

LOG_FILE, CURVE_FILE, PICTURES_FILE, LOCK_FILE = "log.jsonl", "curve.png", "pictures.png", "lock"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """The folder for this process alone. Raises RunError where another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is in use by another run: wait for it, or give another folder by --run"
            ) from error
        yield


@dataclass
class Stop:
    """Whether a signal asked to stop, and which."""

    signal: int | None = None


@contextmanager
def polite_signals() -> Generator[Stop]:
    """SIGINT and SIGTERM set `signal` once; a second one acts as ever. Outside the main thread nothing is changed."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records so far, one an epoch."""
    path = folder / LOG_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_log(folder: Path, records: list[dict[str, Any]]) -> None:
    """All records anew, so that no line is ever half there."""
    durable.write(folder / LOG_FILE, "".join(f"{json.dumps(record)}\n" for record in records).encode())

"""The folder of one run: its lock, its log, its curve; and the signals that end it politely."""

import fcntl
import json
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from training import durable
from training.errors import RunError

LOG_FILE, CURVE_FILE, PICTURES_FILE, LOCK_FILE = "log.jsonl", "curve.png", "pictures.png", "lock"


@contextmanager
def locked(folder: Path) -> Generator[None]:
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


@dataclass
class Stop:
    """Whether a signal asked to stop, and which."""

    signal: int | None = None


@contextmanager
def polite_signals() -> Generator[Stop]:
    """SIGINT and SIGTERM set `signal` once; a second one acts as ever. Outside the main thread nothing is changed."""
    stop = Stop()

    def ask(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    with _handled(ask) as before:
        yield stop


@contextmanager
def raising_signals() -> Generator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt with their number. Outside the main thread nothing is changed."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    with _handled(interrupt):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Generator[dict[int, Any]]:
    """SIGINT and SIGTERM go to the handler; gives the handlers from before."""
    if threading.current_thread() is not threading.main_thread():
        yield {}
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records so far, one an epoch. Raises RunError where the file is broken."""
    path = folder / LOG_FILE
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    except ValueError as error:
        raise RunError(f"{path} is broken ({error}): remove it, and the run goes on without") from error


def write_log(folder: Path, records: list[dict[str, Any]]) -> None:
    """All records anew, so that no line is ever half there."""
    durable.write(folder / LOG_FILE, "".join(f"{json.dumps(record)}\n" for record in records).encode())

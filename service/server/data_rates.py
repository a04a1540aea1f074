"""Timers of one connection: a limit for the time of request headers, and minimum data rates of both bodies.

`ReadWatch` limits what the client sends, `WriteWatch` how fast it reads the response. Both know bytes, clocks and
settings; they know no route and do not parse HTTP.
"""

import asyncio
from typing import Literal, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from service.config import Settings
from service.errors import Problem, RequestTimeout

RECHECK_SECONDS = 1.0  # delay of the next check if the service, not the client, was the reason for no progress

Awaited = Literal["headers", "body", "nothing"]


class ReadConnection(Protocol):
    """What `ReadWatch` needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    def has_pending_response(self) -> bool:
        """Return whether a response to an earlier request is not complete."""
        ...

    def reject(self, problem: Problem) -> None:
        """Answer the current request with a problem and close the connection."""
        ...


class ReadWatch:
    """Counts the bytes of the current request, and rejects it when its headers or its body arrive too slowly.

    The headers must be complete after `header_timeout` seconds. The body must keep `min_data_rate` bytes per second on
    average, starting `min_data_rate_grace` seconds after the headers. An idle connection is closed without a response.
    """

    __slots__ = (
        "_awaited",
        "_body_started_at",
        "_connection",
        "_loop",
        "_settings",
        "_timer",
        "body_bytes",
        "chunk_bytes",
        "header_bytes",
        "in_headers",
        "receiving",
    )

    def __init__(self, connection: ReadConnection, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._settings = settings
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._awaited: Awaited = "nothing"
        self._body_started_at = 0.0
        self.receiving = False  # from the first byte of a request to its last
        self.in_headers = False
        self.header_bytes = 0  # without the chunk in which the request began
        self.body_bytes = 0  # without the chunk in which the body began
        self.chunk_bytes = 0  # size of the latest chunk, which may contain parts of several requests

    def add_chunk(self, size: int) -> None:
        """Count bytes that were received and are not parsed yet."""
        self.chunk_bytes = size
        if self.in_headers:
            self.header_bytes += size
        elif self.receiving:
            self.body_bytes += size

    def begin_request(self) -> None:
        """Count from zero. It is unknown how many bytes of the latest chunk belong to this request."""
        self.receiving = self.in_headers = True
        self.header_bytes = self.body_bytes = 0

    def wait_for(self, awaited: Awaited) -> None:
        """Start the timer of the next part of a request. If that part is awaited already, its timer keeps running."""
        if awaited == self._awaited:
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._awaited = awaited
        if awaited == "headers":
            self._timer = self._loop.call_later(self._settings.header_timeout, self._check_headers)
        elif awaited == "body":
            self._body_started_at = self._loop.time()
            self._timer = self._loop.call_later(self._settings.min_data_rate_grace, self._check_data_rate)

    def close(self) -> None:
        """Stop the timer and release the connection, so that no reference cycle keeps the connection in memory."""
        self.wait_for("nothing")
        del self._connection

    def _check_headers(self) -> None:
        """Reject headers that are not complete. While another request is being answered, the client may wait."""
        if self._connection.has_pending_response():
            self._timer = self._loop.call_later(RECHECK_SECONDS, self._check_headers)
        elif self.in_headers:
            seconds = self._settings.header_timeout
            self._connection.reject(RequestTimeout(f"the headers of a request must arrive within {seconds:g} s"))
        else:
            self._connection.transport.close()

    def _check_data_rate(self) -> None:
        """Reject a body that is too slow on average. The time while the service reads nothing does not count."""
        if self._connection.flow.read_paused:
            self._body_started_at += RECHECK_SECONDS
            self._timer = self._loop.call_later(RECHECK_SECONDS, self._check_data_rate)
            return
        rate = self._settings.min_data_rate
        allowed_seconds = self._settings.min_data_rate_grace + self.body_bytes / rate
        remaining = self._body_started_at + allowed_seconds - self._loop.time()
        if remaining > 0:
            self._timer = self._loop.call_later(max(remaining, RECHECK_SECONDS), self._check_data_rate)
        else:
            self._connection.reject(RequestTimeout(f"a body must arrive at {rate} bytes per second or faster"))


class WriteWatch:
    """Aborts a connection whose client reads the response too slowly.

    The event loop pauses writing while its buffer is full. From then until the buffer drains, the client must read
    `min_data_rate` bytes per second, measured over periods of `min_data_rate_grace` seconds.
    """

    __slots__ = ("_loop", "_settings", "_timer", "_transport", "_unsent_bytes")

    def __init__(self, transport: asyncio.Transport, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._settings = settings
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def start(self) -> None:
        """Start a period."""
        self.stop()
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._settings.min_data_rate_grace, self._check_data_rate)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _check_data_rate(self) -> None:
        sent_bytes = self._unsent_bytes - self._transport.get_write_buffer_size()
        if sent_bytes < self._settings.min_data_rate * self._settings.min_data_rate_grace:
            self._transport.abort()
        else:
            self.start()

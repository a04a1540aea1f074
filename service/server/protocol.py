"""A connection that is waited for with an end: a head has a size and a time, a body and an answer a least speed.

uvicorn's protocol has none of these, and no ASGI callable can see what has not come yet. Knows bytes, clocks and the
settings in the lifespan's state; no route.
"""

import asyncio
import os
from array import array
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import HeadersTooLarge, MalformedRequest, Problem, RequestTimeout
from service.http.cors import cors_headers
from service.http.problems import problem_response
from service.server.idle import IDLE_SHARE, close_longest_idle, max_connections
from service.state import State

LINGERING_CLOSE_SECONDS = 2.0  # seconds that who was refused has to read why, before the connection is reset
RECHECK_SECONDS = 1.0  # seconds until somebody is looked at again who could not send, for our own sake


class UpgradeIgnoringParser(httptools.HttpRequestParser):
    """A request parser that treats `Upgrade` as if it had not been sent, as RFC 9110, section 7.8 allows.

    httptools skips the body of such a request and parses it as the next request on the connection. Here the head is
    parsed again without the header, followed by the body. The protocol ignores what is announced the first time.
    """

    def __init__(self, protocol: "TimeoutProtocol") -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: "bytes | bytearray | memoryview[int] | array[int]") -> None:
        """Parse `data` and call the protocol. Raises `httptools.HttpParserError`, also for CONNECT."""
        while True:
            try:
                return super().feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT asks for a tunnel") from None
                body_start: int = upgrade.args[0]
                data = self._protocol.head_without_upgrade() + bytes(data[body_start:])


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections that send or read too slowly, and answers why where it still can."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.parser = UpgradeIgnoringParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.state: State = self.app_state["service"]
        self.settings = self.state.settings
        self.receiving = self.in_headers = False  # a request that has begun and not ended; its head
        self.header_bytes = self.body_bytes = self.chunk_bytes = 0
        self.body_started_at = self.unsent_bytes = 0.0
        self.read_timer: asyncio.TimerHandle | None = None  # to look whether enough has come
        self.write_timer: asyncio.TimerHandle | None = None  # to look whether enough has gone
        self.awaiting: str = ""  # what `reading` waits for
        self.rejection: Problem | None = None
        self.closing = False
        self._start_read_timer("head")
        limit = max_connections()
        if len(self.connections) > limit * IDLE_SHARE:
            close_longest_idle(self.connections, limit)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._start_read_timer("")
        self._cancel_write_timer()

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies. After a refusal they are read and dropped, so that the answer gets through."""
        if self.closing:
            return
        self.chunk_bytes = len(data)
        if self.in_headers:
            self.header_bytes += len(data)
        elif self.receiving:
            self.body_bytes += len(data)
        super().data_received(data)
        if self.closing or self.transport.is_closing():
            return
        if self.in_headers and self.header_bytes > self.settings.max_header_bytes:
            self._reject(HeadersTooLarge(f"a head may have {self.settings.max_header_bytes} bytes"))
        elif self.receiving:
            self._start_read_timer("head" if self.in_headers else "body")
        else:
            self._start_read_timer("" if self._has_pending_response() else "head")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.receiving = self.in_headers = True
        self.header_bytes = self.body_bytes = 0  # how much of this chunk is the head's nobody knows yet

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self.header_bytes + self.chunk_bytes > self.settings.max_header_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.settings.max_header_bytes:
                self.rejection = HeadersTooLarge(f"a head may have {self.settings.max_header_bytes} bytes")
                raise self.rejection
        super().on_headers_complete()
        self.in_headers = False

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self.receiving = False

    def head_without_upgrade(self) -> bytes:
        """Return the head of the current request as it was received, but without its `Upgrade` headers."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"".join([method, b" ", self.url, b" HTTP/", version, b"\r\n", *lines, b"\r\n"])

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.receiving and not self.in_headers and self.cycle.response_complete:
            self._half_close()  # the answer did not need the rest of the body, and nobody reads it

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's word, which says nothing
        """What the parser did not take, as a problem document."""
        self._reject(self.rejection or MalformedRequest("this is no HTTP/1.1 request"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_write_timer()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(
            self.settings.min_data_rate_grace, self.transport.abort
        )  # where the last of an answer is never read

    def _has_pending_response(self) -> bool:
        cycle: Any = self.cycle  # none before the first
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def _start_read_timer(self, what: str) -> None:
        """Wait for the end of a head, or for enough of a body; what was waited for before has come."""
        if what == self.awaiting:
            return
        if self.read_timer:
            self.read_timer.cancel()
            self.read_timer = None
        self.awaiting = what
        if what == "head":
            self.read_timer = self.loop.call_later(self.settings.header_timeout, self._check_headers)
        elif what:
            self.body_started_at = self.loop.time()
            self.read_timer = self.loop.call_later(self.settings.min_data_rate_grace, self._check_read_rate)

    def _check_headers(self) -> None:
        if self._has_pending_response():  # the next request's, while one is worked on: it waits for us
            self.read_timer = self.loop.call_later(RECHECK_SECONDS, self._check_headers)
        elif self.in_headers:
            self._reject(RequestTimeout(f"a head has {self.settings.header_timeout:g} s"))
        else:
            self.transport.close()

    def _check_read_rate(self) -> None:
        """So many bytes a second, on the average since the grace ended."""
        flow: FlowControl = self.flow
        if flow.read_paused:
            self.body_started_at += RECHECK_SECONDS
            self.read_timer = self.loop.call_later(RECHECK_SECONDS, self._check_read_rate)
            return
        end = self.body_started_at + self.settings.min_data_rate_grace + self.body_bytes / self.settings.min_data_rate
        left = end - self.loop.time()
        if left > 0:
            self.read_timer = self.loop.call_later(max(left, RECHECK_SECONDS), self._check_read_rate)
        else:
            self._reject(RequestTimeout(f"a body comes with {self.settings.min_data_rate} bytes a second at least"))

    def _start_write_timer(self) -> None:
        self._cancel_write_timer()
        self.unsent_bytes = self.transport.get_write_buffer_size()
        self.write_timer = self.loop.call_later(self.settings.min_data_rate_grace, self._check_write_rate)

    def _cancel_write_timer(self) -> None:
        if self.write_timer:
            self.write_timer.cancel()
            self.write_timer = None

    def _check_write_rate(self) -> None:
        gone = self.unsent_bytes - self.transport.get_write_buffer_size()
        if gone < self.settings.min_data_rate * self.settings.min_data_rate_grace:
            self.transport.abort()
        else:
            self._start_write_timer()

    def _reject(self, problem: Problem) -> None:
        """Answers a request that never becomes one, or whose body does not come, and parts."""
        cycle: Any = self.cycle if self.receiving and not self.in_headers else None
        if cycle is None and self._has_pending_response():
            self.transport.close()  # another request's answer is under way
            return
        if cycle is None or not cycle.response_started:
            status, body, headers = problem_response(problem, os.urandom(8).hex())
            headers += cors_headers(self.headers or (), self.settings)
            pairs = [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            lines = [b"%s: %s\r\n" % pair for pair in pairs]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
            self.state.metrics.count_request("other", "", status, 0.0)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._half_close()

    def _half_close(self) -> None:
        """Say no more, and read what still comes for a moment: a reset could overtake the answer."""
        self.closing = True
        self._start_read_timer("")
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGERING_CLOSE_SECONDS, self.transport.abort)

"""HTTP protocol with limits: header size and timeout, minimum data rates for request and response bodies.

uvicorn has none of these limits, and an ASGI application only sees requests whose headers are complete. This module
extends uvicorn's protocol. It does not depend on the routes of the application.
"""

import asyncio
import os
from array import array
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import HeadersTooLarge, MalformedRequest, Problem
from service.http.cors import cors_headers
from service.http.problems import problem_response
from service.server.data_rates import ReadWatch, WriteWatch
from service.server.idle import IDLE_SHARE, close_longest_idle, max_connections
from service.state import State

LINGERING_CLOSE_SECONDS = 2.0  # time that a rejected client has to read the response, before the connection is reset


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
    """uvicorn's protocol, but it rejects clients that send or read too slowly, with a response where possible."""

    flow: FlowControl

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Start to wait for the headers of the first request."""
        super().connection_made(transport)
        self.parser = UpgradeIgnoringParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.state: State = self.app_state["service"]
        self.settings = self.state.settings
        self.read_watch = ReadWatch(self, self.settings, self.loop)
        self.write_watch = WriteWatch(transport, self.settings, self.loop)
        self.rejection: Problem | None = None  # why `on_headers_complete` stopped the parser
        self.closing = False
        self.read_watch.wait_for("headers")
        limit = max_connections()
        if len(self.connections) > limit * IDLE_SHARE:
            close_longest_idle(self.connections, limit)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop both timers."""
        super().connection_lost(exc)
        self.read_watch.close()
        self.write_watch.stop()

    def data_received(self, data: bytes) -> None:
        """Parse bytes of headers and bodies. After a rejection, discard them so that the client reads the response."""
        if self.closing:
            return
        watch = self.read_watch
        watch.add_chunk(len(data))
        super().data_received(data)
        if self.closing or self.transport.is_closing():
            return
        if watch.in_headers and watch.header_bytes > self.settings.max_header_bytes:
            self.reject(self._headers_too_large())
        elif watch.receiving:
            watch.wait_for("headers" if watch.in_headers else "body")
        else:
            watch.wait_for("nothing" if self.has_pending_response() else "headers")

    def on_message_begin(self) -> None:
        """Reset the byte counts. Called by the parser."""
        super().on_message_begin()
        self.read_watch.begin_request()

    def on_headers_complete(self) -> None:
        """Start the application. Called by the parser, which turns the exception into `send_400_response`."""
        if self.parser.should_upgrade():
            return
        watch = self.read_watch
        if watch.header_bytes + watch.chunk_bytes > self.settings.max_header_bytes:  # an upper bound
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.settings.max_header_bytes:
                self.rejection = self._headers_too_large()
                raise self.rejection
        super().on_headers_complete()
        watch.in_headers = False

    def on_message_complete(self) -> None:
        """Note the end of the request. Called by the parser."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self.read_watch.receiving = False

    def head_without_upgrade(self) -> bytes:
        """Return the head of the current request as it was received, but without its `Upgrade` headers."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"".join([method, b" ", self.url, b" HTTP/", version, b"\r\n", *lines, b"\r\n"])

    def on_response_complete(self) -> None:
        """Close the connection if the response did not need the rest of the body, because nothing reads it."""
        super().on_response_complete()
        if self._in_body() and self.cycle.response_complete:
            self._half_close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the same text for every error of the parser
        """Answer a request that the parser rejected with a problem document."""
        self.reject(self.rejection or MalformedRequest("the request is not valid HTTP/1.1"))

    def pause_writing(self) -> None:
        """Start to measure how fast the client reads."""
        super().pause_writing()
        self.write_watch.start()

    def resume_writing(self) -> None:
        """Stop to measure how fast the client reads."""
        super().resume_writing()
        self.write_watch.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Abort it later if the client never reads the end of the last response."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.settings.min_data_rate_grace, self.transport.abort)

    def has_pending_response(self) -> bool:
        """Return whether a response is not complete, or a pipelined request is waiting."""
        cycle: Any = self.cycle  # None before the first request
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def reject(self, problem: Problem) -> None:
        """Answer a request with a problem because its headers are invalid or its body is late, then close."""
        cycle: Any = self.cycle if self._in_body() else None
        if cycle is None and self.has_pending_response():
            self.transport.close()  # a response now would look like that of the earlier request
            return
        if cycle is None or not cycle.response_started:
            status, body, headers = problem_response(problem, os.urandom(8).hex())
            headers += cors_headers(self.headers or (), self.settings)
            pairs = [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            lines = [b"%s: %s\r\n" % pair for pair in pairs]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
            self.state.metrics.count_request("other", "", status, 0.0)
            self.state.metrics.count_rejection(problem.type)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._half_close()

    def _in_body(self) -> bool:
        return self.read_watch.receiving and not self.read_watch.in_headers

    def _headers_too_large(self) -> HeadersTooLarge:
        limit = self.settings.max_header_bytes
        return HeadersTooLarge(f"the headers of a request may have at most {limit} bytes")

    def _half_close(self) -> None:
        """Close the sending side and discard what arrives for a moment, because a reset could overtake the response."""
        self.closing = True
        self.read_watch.wait_for("nothing")
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGERING_CLOSE_SECONDS, self.transport.abort)

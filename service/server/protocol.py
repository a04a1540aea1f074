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

from service.errors import HeadTooLarge, MalformedRequest, Problem, SlowRequest
from service.http.problems import problem_answer
from service.state import State

PARTING = 2.0  # seconds that who was refused has to read why, before the connection is reset
AGAIN = 1.0  # seconds until somebody is looked at again who could not send, for our own sake


class UpgradeIgnoringParser(httptools.HttpRequestParser):
    """A request parser that treats `Upgrade` as if it had not been sent, as RFC 9110, section 7.8 allows.

    httptools skips the body of such a request and parses it as the next request on the connection. Here the head is
    parsed again without the header, followed by the body. The protocol ignores what is announced the first time.
    """

    def __init__(self, protocol: "PatientProtocol") -> None:
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


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections that send or read too slowly, and answers why where it still can."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.parser = UpgradeIgnoringParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.state: State = self.app_state["service"]
        self.limits = self.state.settings
        self.receiving = self.in_head = False  # a request that has begun and not ended; its head
        self.head_bytes = self.body_bytes = self.chunk = 0
        self.body_began = self.unsent = 0.0
        self.reading: asyncio.TimerHandle | None = None  # to look whether enough has come
        self.writing: asyncio.TimerHandle | None = None  # to look whether enough has gone
        self.watched: str = ""  # what `reading` waits for
        self.refusal: Problem | None = None
        self.parted = False
        self._watch("head")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._watch("")
        self._unwatch_writing()

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies. After a refusal they are read and dropped, so that the answer gets through."""
        if self.parted:
            return
        self.chunk = len(data)
        if self.in_head:
            self.head_bytes += len(data)
        elif self.receiving:
            self.body_bytes += len(data)
        super().data_received(data)
        if self.parted or self.transport.is_closing():
            return
        if self.in_head and self.head_bytes > self.limits.max_head:
            self._refuse(HeadTooLarge(f"a head may have {self.limits.max_head} bytes"))
        elif self.receiving:
            self._watch("head" if self.in_head else "body")
        else:
            self._watch("" if self._answering() else "head")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.receiving = self.in_head = True
        self.head_bytes = self.body_bytes = 0  # how much of this chunk is the head's nobody knows yet

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self.head_bytes + self.chunk > self.limits.max_head:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.max_head:
                self.refusal = HeadTooLarge(f"a head may have {self.limits.max_head} bytes")
                raise self.refusal
        super().on_headers_complete()
        self.in_head = False

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
        if self.receiving and not self.in_head and self.cycle.response_complete:
            self._part()  # the answer did not need the rest of the body, and nobody reads it

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's word, which says nothing
        """What the parser did not take, as a problem document."""
        self._refuse(self.refusal or MalformedRequest("this is no HTTP/1.1 request"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unwatch_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.limits.body_grace, self.transport.abort)  # where the last of an answer is never read

    def _answering(self) -> bool:
        cycle: Any = self.cycle  # none before the first
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def _watch(self, what: str) -> None:
        """Wait for the end of a head, or for enough of a body; what was waited for before has come."""
        if what == self.watched:
            return
        if self.reading:
            self.reading.cancel()
            self.reading = None
        self.watched = what
        if what == "head":
            self.reading = self.loop.call_later(self.limits.head_timeout, self._judge_head)
        elif what:
            self.body_began = self.loop.time()
            self.reading = self.loop.call_later(self.limits.body_grace, self._judge_body)

    def _judge_head(self) -> None:
        if self._answering():  # the next request's, while one is worked on: it waits for us
            self.reading = self.loop.call_later(AGAIN, self._judge_head)
        elif self.in_head:
            self._refuse(SlowRequest(f"a head has {self.limits.head_timeout:g} s"))
        else:
            self.transport.close()

    def _judge_body(self) -> None:
        """So many bytes a second, on the average since the grace ended."""
        flow: FlowControl = self.flow
        if flow.read_paused:
            self.body_began += AGAIN
            self.reading = self.loop.call_later(AGAIN, self._judge_body)
            return
        end = self.body_began + self.limits.body_grace + self.body_bytes / self.limits.body_rate
        left = end - self.loop.time()
        if left > 0:
            self.reading = self.loop.call_later(max(left, AGAIN), self._judge_body)
        else:
            self._refuse(SlowRequest(f"a body comes with {self.limits.body_rate} bytes a second at least"))

    def _watch_writing(self) -> None:
        self._unwatch_writing()
        self.unsent = self.transport.get_write_buffer_size()
        self.writing = self.loop.call_later(self.limits.body_grace, self._judge_reader)

    def _unwatch_writing(self) -> None:
        if self.writing:
            self.writing.cancel()
            self.writing = None

    def _judge_reader(self) -> None:
        gone = self.unsent - self.transport.get_write_buffer_size()
        if gone < self.limits.body_rate * self.limits.body_grace:
            self.transport.abort()
        else:
            self._watch_writing()

    def _refuse(self, problem: Problem) -> None:
        """Answers a request that never becomes one, or whose body does not come, and parts."""
        cycle: Any = self.cycle if self.receiving and not self.in_head else None
        if cycle is None and self._answering():
            self.transport.close()  # another request's answer is under way
            return
        if cycle is None or not cycle.response_started:
            status, body, headers = problem_answer(problem, os.urandom(8).hex())
            pairs = [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            lines = [b"%s: %s\r\n" % pair for pair in pairs]
            self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
            self.state.metrics.request("other", "", status, 0.0)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._part()

    def _part(self) -> None:
        """Say no more, and read what still comes for a moment: a reset could overtake the answer."""
        self.parted = True
        self._watch("")
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(PARTING, self.transport.abort)

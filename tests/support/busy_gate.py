"""A proxy in front of a service that is busy at first, to see how clients try again."""

from collections.abc import Container, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic

import httpx2

HOP = ("host", "content-length", "transfer-encoding", "connection")
REFUSAL = b'{"type": "/problems/overloaded", "status": 503, "detail": "the service is overloaded"}'


class BusyGate(ThreadingHTTPServer):
    """Answers the first `refusals` requests with 503 and `Retry-After`, and passes the others on to `service`.

    `times`: when each request came, in seconds. `retry_after`: seconds. Bodies in `slow` get the 504 of a proxy, and at
    those in `fatal` the connection breaks, whenever they come.
    """

    def __init__(
        self, service: str, refusals: int, retry_after: int, slow: Container[bytes], fatal: Container[bytes]
    ) -> None:
        super().__init__(("127.0.0.1", 0), GateHandler)
        self.service, self.refusals, self.retry_after = service, refusals, retry_after
        self.slow, self.fatal = slow, fatal
        self.times: list[float] = []

    @property
    def address(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.server_port}"


class GateHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: BusyGate  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Refuse the request or pass it on."""
        self.server.times.append(monotonic())
        body = self._body()
        if len(self.server.times) <= self.server.refusals:
            self._answer(503, REFUSAL, {"Retry-After": str(self.server.retry_after)})
            return
        if body in self.server.fatal:
            self.close_connection = True
            return
        if body in self.server.slow:
            self._answer(504, b"<h1>504 Gateway Time-out</h1>", {"Content-Type": "text/html"})
            return
        kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        reply = httpx2.post(self.server.service + self.path, content=body, headers=kept, timeout=60)
        self._answer(reply.status_code, reply.content, {"Content-Type": reply.headers["content-type"]})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


@contextmanager
def busy_gate(
    service: str, refusals: int, retry_after: int = 1, *, slow: Container[bytes] = (), fatal: Container[bytes] = ()
) -> Generator[BusyGate]:
    """Run the proxy in a thread."""
    with BusyGate(service, refusals, retry_after, slow, fatal) as gate:
        thread = Thread(target=gate.serve_forever)
        thread.start()
        yield gate
        gate.shutdown()
        thread.join()

"""Slow clients and unfinished or oversized headers: they are closed with a response while others are served."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest

from service.config import Settings
from tests.conftest import digit, listening, png

pytestmark = pytest.mark.slow

GOOD = png(digit())
HEAD = b"POST /denoise HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@contextmanager
def impatient(models: Path, **settings: Any) -> Generator[str]:
    """Serve with short timeouts."""
    clocks = {"header_timeout": 0.5, "min_data_rate_grace": 0.5, "min_data_rate": 1000}
    values = {"models_dir": models, "model_watch": "off", "default_denoise": "digits", **clocks, **settings}
    with listening(Settings.model_validate(values)) as address:
        yield address
        assert good(address) == 200


def good(address: str, **headers: str) -> int:
    """Return the status of a valid request."""
    asked = Request(f"{address}/denoise", GOOD, {"Content-Type": "image/png", **headers})  # noqa: S310 - our own
    with urlopen(asked, timeout=20) as answer:  # noqa: S310
        return answer.status


@contextmanager
def connected(address: str) -> Generator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Return everything received until the other side closes."""
    content = b""
    while True:
        try:
            piece = connection.recv(1 << 20)
        except ConnectionError:
            return content
        if not piece:
            return content
        content += piece


def problem(answer: bytes) -> tuple[int, str]:
    """Return status and type of a response, which must be a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["type"].removeprefix("/problems/")


def dribble(connection: socket.socket, piece: bytes, seconds: float = 10.0) -> None:
    """Send a piece every 50 ms until the other side has closed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection.sendall(piece)
        except OSError:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"", b"a"], ids=["whole headers", "nothing", "letters"])
def test_unfinished_headers_get_408(models: Path, piece: bytes) -> None:
    with impatient(models) as address, connected(address) as connection:
        connection.sendall(HEAD)
        threading.Thread(target=dribble, args=(connection, piece), daemon=True).start()
        assert problem(rest(connection)) == (408, "request-timeout")


@pytest.mark.parametrize("piece", [b"", b"\r\n"], ids=["silence", "empty lines"])
def test_silent_connection_is_closed_without_response(models: Path, piece: bytes) -> None:
    with impatient(models) as address, connected(address) as connection:
        threading.Thread(target=dribble, args=(connection, piece), daemon=True).start()
        assert rest(connection) == b""


@pytest.mark.parametrize("length", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_slow_body_gets_408(models: Path, length: bytes) -> None:
    with impatient(models) as address, connected(address) as connection:
        connection.sendall(HEAD + length + b"\r\n\r\n")
        threading.Thread(target=dribble, args=(connection, b"1\r\na\r\n"), daemon=True).start()
        assert problem(rest(connection)) == (408, "request-timeout")


def test_body_at_the_minimum_rate_is_served(models: Path) -> None:
    body = png(np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8))
    assert len(body) > 4000
    with impatient(models, min_data_rate=500) as address, connected(address) as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        begun = time.monotonic()
        for at in range(0, len(body), 200):
            connection.sendall(body[at : at + 200])
            time.sleep(0.1)
        assert rest(connection).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - begun > 2 * 0.5  # longer than the grace period


@pytest.mark.parametrize("way", ["at once", "dribbled", "one long header", "address"])
def test_headers_over_limit_get_431(models: Path, way: str) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 80) for number in range(1000))
    heads: dict[str, Callable[[], list[bytes]]] = {
        "at once": lambda: [HEAD + many + b"\r\n"],
        "dribbled": lambda: [HEAD, *(many[at : at + 8000] for at in range(0, len(many), 8000))],
        "one long header": lambda: [HEAD + b"X: ", *[b"v" * 60_000] * 8],
        "address": lambda: [b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
    }
    with impatient(models) as address, connected(address) as connection:
        for piece in heads[way]():
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
            time.sleep(0.01)
        assert problem(rest(connection)) == (431, "headers-too-large")


def test_headers_just_below_limit_are_accepted(models: Path) -> None:
    with impatient(models) as address:
        assert good(address, **{f"x-{number}": "v" * 990 for number in range(64)}) == 200


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"nonsense\r\n\r\n", (400, "malformed-request")),
        (b"\x16\x03\x01\0\0", (400, "malformed-request")),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", (400, "malformed-request")),
        (b"GET / HTTP/9.9\r\n\r\n", (400, "malformed-request")),
    ],
    ids=["words", "TLS", "CONNECT", "version"],
)
def test_invalid_http_gets_its_problem_document(models: Path, request_: bytes, expected: tuple[int, str]) -> None:
    with impatient(models) as address, connected(address) as connection:
        connection.sendall(request_)
        assert problem(rest(connection)) == expected


def test_early_response_reaches_a_sending_client(models: Path) -> None:
    with impatient(models, max_body_bytes=1000) as address, connected(address) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(300):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"/problems/body-too-large" in answer


def test_rejects_announced_body_over_limit_without_100_continue(models: Path) -> None:
    with impatient(models, max_body_bytes=1000) as address, connected(address) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 1099511627776\r\n\r\n")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"100 Continue" not in answer


def test_client_that_never_reads_is_disconnected(models: Path) -> None:
    large = png(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8))
    with impatient(models) as address:
        parts = urlsplit(address)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection:
            connection.settimeout(20)
            connection.connect((parts.hostname, parts.port))
            head = b"POST /denoise?model=photos HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(large) + large)
            time.sleep(3)  # several grace periods
            head, _, body = rest(connection).partition(b"\r\n\r\n")
            (length,) = re.findall(rb"content-length: (\d+)", head)
            assert len(body) < int(length)


def test_pipelined_requests_are_answered_in_order(models: Path) -> None:
    request = HEAD + b"X-Request-ID: %d\r\nContent-Length: " + str(len(GOOD)).encode() + b"\r\n\r\n" + GOOD
    with impatient(models) as address, connected(address) as connection:
        connection.sendall(b"".join(request % number for number in range(10)) + HEAD)
        answer = rest(connection)
        ids = [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"x-request-id: ")][:10]
        assert ids == list(range(10))
        assert answer.count(b"HTTP/1.1 200") == 10
        assert b"HTTP/1.1 408" in answer, "the eleventh request has no body"


def test_body_over_inflight_bytes_gets_retry_after(models: Path) -> None:
    asked = HEAD + b"Connection: close\r\nContent-Length: 900000\r\n\r\n"
    with (
        impatient(models, max_inflight_bytes=1_000_000, min_data_rate_grace=20) as address,
        connected(address) as first,
    ):
        first.sendall(asked + bytes(400_000))
        time.sleep(0.3)  # until the service has received it
        with connected(address) as second:
            second.sendall(asked + bytes(900_000))
            answer = rest(second)
            assert problem(answer) == (503, "overloaded")
            assert b"retry-after: " in answer
        assert good(address) == 200
        first.sendall(bytes(500_000))
        assert rest(first).startswith(b"HTTP/1.1 415")  # the body was read to its end

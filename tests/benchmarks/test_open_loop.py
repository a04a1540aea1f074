"""The open-loop generator against servers whose latencies are known."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np

from benchmarks.load import Request
from benchmarks.open_loop import lone_latencies, poisson_load

REQUEST = Request("/denoise", b"x" * 100_000, "image/png")
STALL = 0.3


@contextmanager
def serving(answer: Callable[[int], bytes]) -> Generator[int]:
    """Answer the n-th request by `answer(n)`, one connection after another, and yield the port."""
    lock, numbers = threading.Lock(), iter(range(10_000))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while stream.readline():
                while stream.readline() != b"\r\n":
                    pass
                assert stream.read(len(REQUEST.body)) == REQUEST.body
                with lock:  # one at a time, so that a stall delays all
                    connection.sendall(answer(next(numbers)))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def response(status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nabc".encode()


def test_a_stall_counts_for_all_requests_that_were_due_in_it() -> None:
    def answer(number: int) -> bytes:
        if number == 50:
            time.sleep(STALL)
        return response()

    with serving(answer) as port:
        load = poisson_load(port, REQUEST, rate=200, seconds=1)
    assert load.failed == 0
    assert len(load.latencies) == 180  # without the first tenth
    # Those that were due in the stall waited for its end: about 60 of them, half of it on average.
    assert np.count_nonzero(load.latencies > STALL / 2) > 15
    assert load.latencies.max() >= STALL


def test_requests_are_due_at_random_with_the_rate() -> None:
    with serving(lambda _: response()) as port:
        begun = time.perf_counter()
        poisson_load(port, REQUEST, rate=100, seconds=0.5)
    expected = np.random.default_rng(0).exponential(1 / 100, 50).sum()
    assert time.perf_counter() - begun >= expected


def test_other_statuses_are_failures() -> None:
    with serving(lambda number: response("503 Busy" if number % 5 == 0 else "200 OK")) as port:
        assert poisson_load(port, REQUEST, rate=500, seconds=0.1).failed == 10


def test_latencies_of_a_lone_client_are_those_of_the_server() -> None:
    def answer(_: int) -> bytes:
        time.sleep(0.01)
        return response()

    with serving(answer) as port:
        latencies = lone_latencies(port, REQUEST, 0.2)
    assert 1 < len(latencies) <= 20
    assert latencies.min() >= 0.01

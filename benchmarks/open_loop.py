"""Open-loop load over kept-alive connections: Poisson arrivals, whatever the server does.

The latency counts from the moment a request is due, so that neither a slow server nor a slow generator hides waiting
("coordinated omission"). The loop polls without sleeping, because the timers of an event loop are as coarse as the
latencies: give it a core of its own.
"""

import select
import socket
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import Request

CONNECTIONS = 128
RECEIVE_BYTES = 1 << 20
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """Seconds of each request, in the order in which they were due, and failures.

    `latencies` count from the moment a request was due until its response was complete, `lateness` until it was sent.
    `failed` counts responses with another status than 200.
    """

    latencies: NDArray[np.float64]
    lateness: NDArray[np.float64]
    failed: int


@dataclass(slots=True)
class Exchange:
    """A connection, the number of its request, and the bytes of both directions that are still open."""

    connection: socket.socket
    number: int = 0
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    received: bytearray = field(default_factory=bytearray)

    def send(self, message: memoryview) -> None:
        """Send as much of a message as the socket takes."""
        try:
            self.unsent = message[self.connection.send(message) :]
        except BlockingIOError:
            self.unsent = message

    def receive(self) -> int:
        """Read what has come, and return the status of a complete response, or 0. Raises ConnectionError at its end."""
        data = self.connection.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed a kept-alive connection")
        self.received += data
        end = self.received.find(HEAD_END)
        if end < 0:
            return 0
        head = bytes(self.received[:end]).lower()
        size = int(head.partition(LENGTH)[2].split(b"\r\n", 1)[0])
        if len(self.received) < end + len(HEAD_END) + size:
            return 0
        self.received.clear()
        return int(head.split(b" ", 2)[1])


def poisson_load(port: int, request: Request, *, rate: float, seconds: float, seed: int = 0) -> OpenLoad:
    """Send requests at random moments, `rate` a second on average, and wait for all responses.

    A request waits for a connection if all CONNECTIONS are busy; that is part of its lateness and its latency. The
    first tenth is left out, as in the simulations of benchmarks.capacity: its connections are new.
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds)))
    with ExitStack() as stack:
        poller = stack.enter_context(select.epoll())
        exchanges: dict[int, Exchange] = {}
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(_connect(port))
            connection.setblocking(False)
            exchanges[connection.fileno()] = Exchange(connection)
            poller.register(connection, select.EPOLLIN)
        return _run(poller, exchanges, _message(request), due)


def lone_latencies(port: int, request: Request, seconds: float) -> NDArray[np.float64]:
    """Return the latencies of a client that sends the next request after each response."""
    message, latencies, clock = _message(request), list[float](), time.perf_counter
    with _connect(port) as connection:
        exchange = Exchange(connection)
        end = clock() + seconds
        while (begun := clock()) < end:
            exchange.send(message)
            while not exchange.receive():
                pass
            latencies.append(clock() - begun)
    return np.array(latencies)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _run(
    poller: select.epoll, exchanges: dict[int, Exchange], message: memoryview, due: NDArray[np.float64]
) -> OpenLoad:
    moments, count = due.tolist(), len(due)
    sent, ended = np.zeros(count), np.zeros(count)
    idle = deque(exchanges.values())
    sending: list[Exchange] = []
    next_one = done = failed = 0
    clock, begun = time.perf_counter, time.perf_counter()
    while done < count:
        while next_one < count and idle and moments[next_one] <= (now := clock() - begun):
            exchange = idle.popleft()
            exchange.number = next_one
            exchange.send(message)
            sending += [exchange] if exchange.unsent else []
            sent[next_one] = now
            next_one += 1
        for exchange in sending:
            exchange.send(exchange.unsent)
        sending = [exchange for exchange in sending if exchange.unsent]
        for number, _ in poller.poll(0):
            exchange = exchanges[number]
            if status := exchange.receive():
                ended[exchange.number] = clock() - begun
                failed += status != 200
                done += 1
                idle.append(exchange)
    warm = count // 10
    return OpenLoad((ended - due)[warm:], (sent - due)[warm:], failed)


def _message(request: Request) -> memoryview:
    lines = [f"POST {request.path} HTTP/1.1", "Host: x", f"Content-Type: {request.content_type}"]
    lines += [f"Content-Length: {len(request.body)}", *(f"{name}: {value}" for name, value in request.headers)]
    return memoryview("\r\n".join([*lines, "", ""]).encode() + request.body)

"""`python -m benchmarks.tracing`: CPU of a request with tracing off and sampled, beside a service without the library.

Four services run side by side, and get slices of requests in turns, so that a change of the machine's speed meets all
of them alike. CPU is user plus system time of each process, which other processes of the machine do not add to, with
the export of the spans.
"""

import argparse
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Self

from benchmarks.payloads import digits, picture
from benchmarks.process import Server, free_port

MODEL = Path(__file__).parents[1] / "models" / "digits"
REQUESTS, SLICES, CONNECTIONS, ROUNDS, WARM_UP = 10_000, 5, 8, 10, 2_000
EXPORT_SECONDS = 6  # spans are exported each five seconds
BASE = "not installed"
SERVE = [sys.executable, "-m", "service"]
SERVE_WITHOUT_LIBRARY = [  # of OpenTelemetry, FastAPI needs the API, which the extra does not add
    sys.executable,
    "-c",
    "import sys; sys.modules['opentelemetry.sdk'] = None; from service.cli.commands import main; main()",
]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the service: its command, and the share of traced requests, or None without an exporter."""

    title: str
    command: Sequence[str]
    sampled: float | None = None

    def environ(self, endpoint: str) -> dict[str, str]:
        """Return the variables of the service, for a receiver of OTLP at `endpoint`."""
        if self.sampled is None:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(self.sampled),
        }


VARIANTS = (
    Variant(BASE, SERVE_WITHOUT_LIBRARY),
    Variant("installed, off", SERVE),
    Variant("on, 0 % sampled", SERVE, 0.0),
    Variant("on, 1 % sampled", SERVE, 0.01),
)


class Receiver(BaseHTTPRequestHandler):
    """Accepts spans and drops them."""

    def do_POST(self) -> None:
        """Answer 200."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing."""


class Client:
    """Kept-alive connections, on each of which one request is under way at a time."""

    def __init__(self, port: int, body: bytes) -> None:
        head = f"POST /reconstruct?model=digits HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: image/png\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def send(self, count: int) -> None:
        """Send `count` requests, a multiple of CONNECTIONS. Raises RuntimeError if one is not answered with 200."""
        for _ in range(count // CONNECTIONS):
            for connection in self._connections:
                connection.sendall(self._request)
            for connection in self._connections:
                _read_response(connection)


def _read_response(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(head.decode())
    (length,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    missing = length - len(body)
    while missing:
        missing -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise RuntimeError("the service closed a connection")
    return data


def measure(servers: Sequence[Server], clients: Sequence[Client]) -> list[float]:
    """Send REQUESTS to each server, in slices by turns, and return its microseconds of CPU for a request.

    All that a server does until its last span is exported is counted, also while others get requests.
    """
    before = [server.cpu() for server in servers]
    for start in range(SLICES):
        for step in range(len(clients)):
            clients[(start + step) % len(clients)].send(REQUESTS // SLICES)
    time.sleep(EXPORT_SECONDS)
    return [(server.cpu() - start) / REQUESTS * 1e6 for server, start in zip(servers, before, strict=True)]


def run_round(folder: Path, endpoint: str, cores: str) -> list[float]:
    """Start the services, warm them up and measure them.

    Each round has processes of its own, because the layout of a process in memory changes its CPU by a few per cent.
    """
    body = picture(digits(1)[0], "png")
    with ExitStack() as stack:
        servers = [stack.enter_context(start(variant, folder, endpoint, cores)) for variant in VARIANTS]
        clients: list[Client] = []
        for server in servers:  # a connection without a request is closed after a few seconds
            server.wait(120)
            clients.append(stack.enter_context(Client(server.port, body)))
            clients[-1].send(WARM_UP)
        return measure(servers, clients)


def start(variant: Variant, folder: Path, endpoint: str, cores: str) -> Server:
    """Start a service with the models of `folder`."""
    port = free_port()
    options = ["--models-dir", str(folder / "models"), "--model-watch", "off", "--port", str(port)]
    return Server(
        variant.title,
        [*variant.command, "serve", *options],
        port=port,
        cores=cores,
        log=folder / f"{port}.log",
        ready="/readyz",
        environ=variant.environ(endpoint),
    )


def main() -> None:
    """Print the CPU of a request of each variant, and as a multiple of that without the library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cores", default="0-1", help="cores of the services, as taskset has them")
    arguments = parser.parse_args()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=receiver.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    rounds: list[list[float]] = []
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(MODEL, Path(name) / "models" / MODEL.name)
        for _ in range(arguments.rounds):
            rounds.append(run_round(Path(name), endpoint, arguments.cores))
            print(json.dumps([round(value, 1) for value in rounds[-1]]), file=sys.stderr, flush=True)
    print_table(rounds)
    receiver.shutdown()


def print_table(rounds: Sequence[Sequence[float]]) -> None:
    """Print the least and the median CPU over the rounds, and the ratios to the variant without the library."""
    print("| tracing | CPU, least | CPU, median | ratio of least | median ratio |\n|---|---|---|---|---|")
    base = [row[0] for row in rounds]
    for variant, values in zip(VARIANTS, zip(*rounds, strict=True), strict=True):
        ratio = median(value / old for value, old in zip(values, base, strict=True))
        least = min(values)
        print(f"| {variant.title} | {least:.0f} µs | {median(values):.0f} µs | {least / min(base):.3f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()

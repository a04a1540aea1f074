"""`python -m benchmarks.workers`: our supervisor beside `uvicorn --workers` and beside SO_REUSEPORT, two workers each.

Our acceptor assigns each connection to the worker with the fewest open ones. uvicorn's workers accept from one
shared socket, and with SO_REUSEPORT the kernel picks a worker by a hash of the addresses.
"""

import json
import socket
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import uvicorn

from benchmarks import fixtures
from benchmarks.load import Measured, Request, load
from benchmarks.payloads import digits, picture
from benchmarks.process import Server, free_port
from service.runtime.hardware import available_cores
from service.server.protocol import TimeoutProtocol

ROUNDS, SECONDS, WORKERS = 3, 5.0, 2
CONNECTIONS = (8, 32, 128)
APP = "service.server.run:app_factory"
OURS = "hourglass"


def reuse_port_worker(port: int) -> None:
    """Serve from a socket of its own that shares its port with the other workers."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            APP, factory=True, http=TimeoutProtocol, ws="none", lifespan="on", log_config=None, access_log=False
        )
        uvicorn.Server(config).run(sockets=[listener])


def commands(port: int) -> dict[str, list[list[str]]]:
    """The processes to start for each way of sharing a port."""
    python = [sys.executable, "-m"]
    options = ["--factory", "--ws", "none", "--no-access-log", "--http", "service.server.protocol:TimeoutProtocol"]
    return {
        OURS: [[*python, "service", "serve", "--port", str(port), "--workers", str(WORKERS)]],
        "uvicorn --workers": [[*python, "uvicorn", APP, *options, "--port", str(port), "--workers", str(WORKERS)]],
        "SO_REUSEPORT": [[*python, "benchmarks.workers", str(port)]] * WORKERS,
    }


def measure(title: str, folder: Path, request: Request) -> dict[str, Measured]:
    """One round of one way: each number of kept-alive connections, then a new connection for each request."""
    port, cores = free_port(), f"0-{available_cores().value - 1}"
    environ = {"HOURGLASS_MODELS_DIR": str(folder / "models"), "HOURGLASS_DEFAULT_DENOISE": "dense"}
    with ExitStack() as stack:
        for index, command in enumerate(commands(port)[title]):
            log = folder / f"server-{index}.log"
            server = Server(title, command, port=port, cores=cores, log=log, ready="/readyz", environ=environ)
            stack.enter_context(server).wait()
        rows: dict[str, Measured] = {}
        closing = Request(request.path, request.body, request.content_type, headers=(("Connection", "close"),))
        for name, sent, connections in [
            *((f"{count} kept-alive connections", request, count) for count in CONNECTIONS),
            ("one connection a request, 32 at once", closing, 32),
        ]:
            for seconds in (1.0, SECONDS):  # the first run warms both workers up
                rows[name] = load(port, sent, connections=connections, seconds=seconds, cores=cores, folder=folder)
        return rows


def main() -> None:
    """Print a table of the other ways' throughput and p99 as multiples of ours: medians of interleaved rounds."""
    ratios: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        fixtures.publish_all(folder / "models")
        request = Request("/denoise", picture(digits(1)[0], "png"), "image/png")
        for _ in range(ROUNDS):
            rounds = {title: measure(title, folder, request) for title in commands(0)}
            for title, rows in rounds.items():
                for case, row in rows.items():
                    ours = rounds[OURS][case]
                    ratios[case, title].append((row.rate / ours.rate, row.p99 / ours.p99))
                    print(json.dumps([title, case, round(row.rate), row.p50, row.p99, row.failed]), file=sys.stderr)
    print("| connections | served by | throughput | p99 |\n|---|---|---|---|")
    for (case, title), pairs in ratios.items():
        rate, p99 = (median(pair[index] for pair in pairs) for index in (0, 1))
        print(f"| {case} | {title} | {rate:.2f} | {p99:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        reuse_port_worker(int(sys.argv[1]))
    else:
        main()

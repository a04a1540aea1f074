"""`make overload`: five times the maximum throughput, and many clients with large photographs.

Goodput is the number of responses with status 200 per second. The service runs on one core, the clients on the other.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import payloads
from benchmarks.load import Request
from benchmarks.load_generator import LoadResult, closed_loop, open_loop
from benchmarks.process import Server, free_port
from service.config import Settings

MODELS = Path(__file__).parent.parent / "models"
PATH = "/denoise?model=photo-fast"
OVERLOAD_FACTOR = 5
MIN_GOODPUT_SHARE = 0.9
"""Fraction of the best throughput that must remain under overload."""
MAX_REJECTION_SECONDS = 0.05
"""99th percentile of the seconds until a rejection."""
CLIENT_TIMEOUT = 1
"""Client timeout in seconds."""
CLIENTS = 64
MAX_LIVEZ_SECONDS = 1.0
"""Maximum seconds of a response of /livez."""
MEMORY_MARGIN_MIB = 96
"""MiB that the limits do not count: libraries, and memory that the allocator has not returned."""


@contextmanager
def running_server(folder: Path, cores: str, **settings: int) -> Generator[Server]:
    """Run Hourglass with given settings."""
    port = free_port()
    named = {"MODELS_DIR": str(MODELS), "PORT": str(port), **{name: str(value) for name, value in settings.items()}}
    environ = {f"HOURGLASS_{name}": value for name, value in named.items()}
    serve = [sys.executable, "-m", "service", "serve"]
    with Server(
        "hourglass", serve, port=port, cores=cores, log=folder / "log", ready="/readyz", environ=environ
    ) as one:
        yield one.wait()


def summary(title: str, flood: LoadResult, best: float) -> str:
    """Summarise a load in one line."""
    counts = ", ".join(f"{len(flood.of(status))} x {status}" for status in sorted({a.status for a in flood.responses}))
    return (
        f"{title}: {flood.goodput / best:.2f} of the best ({best:.1f} a second); {counts}; 200 in "
        f"{flood.percentile(0.5, 200):.2f} s, p99 {flood.percentile(0.99, 200):.2f} s; 503 p99 "
        f"{1000 * flood.percentile(0.99, 503):.0f} ms"
    )


def check_overload(folder: Path, seconds: float) -> list[str]:
    """Return the missed targets under OVERLOAD_FACTOR times the load, with a short queue and with short timeouts."""
    failures: list[str] = []
    jpeg = payloads.picture(payloads.photo()[:512, :512], "JPEG")
    cases = (
        ("queue of 16 MiB", {"MAX_INFLIGHT_BYTES": 16 << 20}, ()),
        ("clients with a timeout of a second", {}, (CLIENT_TIMEOUT,)),
    )
    for title, settings, timeouts in cases:
        request = Request(PATH, jpeg, "image/jpeg")
        hasty = Request(PATH, jpeg, "image/jpeg", headers=tuple(("X-Request-Timeout", str(s)) for s in timeouts))
        with running_server(folder, "0", **settings) as server:
            closed_loop(server.port, request, callers=8, seconds=seconds / 2)
            best = max(closed_loop(server.port, request, callers=some, seconds=seconds).goodput for some in (2, 8))
            ledger = open_loop(server.port, hasty, rate=OVERLOAD_FACTOR * best, seconds=seconds)
        print(summary(f"{OVERLOAD_FACTOR} times the load, {title}", ledger, best), flush=True)
        if ledger.goodput < MIN_GOODPUT_SHARE * best:
            failures.append(f"{title}: goodput fell")
        if not ledger.percentile(0.99, 503) <= MAX_REJECTION_SECONDS:
            failures.append(f"{title}: rejections are slow, or there are none")
        if not all(response.retry_after.isdecimal() for response in ledger.of(503)):
            failures.append(f"{title}: a 503 without Retry-After")
        if len(ledger.of(200, 503, 504)) < len(ledger.responses):
            failures.append(f"{title}: responses other than 200, 503 and 504")
    return failures


def check_memory(folder: Path, seconds: float, limit: int) -> list[str]:
    """Return the missed targets while CLIENTS send 12 megapixels each, with at most `limit` MiB of decoded bytes."""
    request = Request(PATH, payloads.picture(np.tile(payloads.photo(), (3, 4, 1)), "JPEG"), "image/jpeg")
    with running_server(folder, "0,1", MAX_INFLIGHT_BYTES=limit << 20) as server, ProcessPoolExecutor(1) as crowd:
        time.sleep(5)
        idle = peak = server.pss()
        slowest = 0.0
        flood = crowd.submit(closed_loop, server.port, request, callers=CLIENTS, seconds=seconds)
        while not flood.done():
            begun = time.monotonic()
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/livez", timeout=60):
                slowest = max(slowest, time.monotonic() - begun)
            peak = max(peak, server.pss())
            time.sleep(0.05)
        ledger = flood.result()
    bound = 3 * limit + Settings.model_fields["tile_memory_mib"].default * (os.cpu_count() or 1) + MEMORY_MARGIN_MIB
    counts = ", ".join(
        f"{len(ledger.of(status))} x {status}" for status in sorted({a.status for a in ledger.responses})
    )
    print(
        f"{CLIENTS} clients with 12 megapixels, MAX_INFLIGHT_BYTES {limit} MiB: {counts}; "
        f"{peak - idle:.0f} MB above idle ({idle:.0f}), limit {bound}; /livez at most {1000 * slowest:.0f} ms",
        flush=True,
    )
    failures = [] if peak - idle <= bound else [f"memory over the limit at {limit} MiB"]
    if len(ledger.of(200, 503)) < len(ledger.responses) or not ledger.of(200):
        failures.append(f"responses other than 200 and 503 at {limit} MiB")
    return failures + ([f"/livez was slow at {limit} MiB"] if slowest > MAX_LIVEZ_SECONDS else [])


def main() -> None:
    """Run all checks and print the results; exit with status 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="seconds of each load")
    seconds = parser.parse_args().seconds
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrong = check_overload(folder, seconds)
        for limit in (256, 1024):
            wrong += check_memory(folder, 2 * seconds, limit)
    for what in wrong:
        print(f"MISSED {what}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

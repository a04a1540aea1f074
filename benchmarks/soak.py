"""`make soak`: valid, corrupt, slow and disconnecting clients for minutes, while a model is replaced repeatedly.

No request may fail, memory may not grow, and the service may not stall. A service that leaks on purpose runs first as a
control: if its growth is not detected, the check fails.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np

from benchmarks.clients import CLIENT_KINDS, Ledger
from benchmarks.process import Server, free_port

MODELS = Path(__file__).parent.parent / "models"
GROWTH = 32.0
"""Allowed growth of the mean memory from the first to the second half, in MB."""
LEAK = 64 << 10
"""Bytes that the control leaks per request."""
CLIENTS = {"good": 4, "bad": 2, "slow": 8, "leaving": 2, "operator": 1}
PROBE_INTERVAL = 0.5
"""Seconds between readings of the memory and of /livez."""
MAX_LIVEZ_SECONDS = 1.0
"""Maximum seconds of a response of /livez."""
SETTLING = 10.0
"""Seconds after the start in which batch costs are measured."""


def watch(server: Server, book: Ledger, seconds: float) -> None:
    """Record memory and health until the end of the run."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request("GET", "/livez")
            if connection.getresponse().status != 200:
                book.errors.append("/livez is red")
        except (HTTPException, OSError) as error:
            book.errors.append(f"/livez: {type(error).__name__}")
        finally:
            connection.close()
        book.health.append(time.monotonic() - begun)
        book.memory.append(server.pss())
        time.sleep(PROBE_INTERVAL)


def soak(title: str, module: Sequence[str], seconds: float, folder: Path) -> Ledger:
    """Run one service under all clients."""
    port, book = free_port(), Ledger(models=folder / title)
    shutil.copytree(MODELS, book.models)
    environ = {
        "MODELS_DIR": book.models,
        "PORT": port,
        "HEADER_TIMEOUT": 2,
        "MIN_DATA_RATE_GRACE": 2,
        "DEFAULT_DENOISE": "digits-denoise",
    }
    named = {f"HOURGLASS_{name}": str(value) for name, value in environ.items()}
    command, cores = [sys.executable, "-m", *module], ",".join(map(str, sorted(os.sched_getaffinity(0))))
    log = folder / f"{title}.log"
    with Server(title, command, port=port, cores=cores, log=log, ready="/readyz", environ=named) as server:
        server.wait()
        time.sleep(SETTLING)
        threads = [
            threading.Thread(target=CLIENT_KINDS[kind], args=(port, book, 100 * place + number), daemon=True)
            for place, (kind, count) in enumerate(CLIENTS.items())
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        watch(server, book, seconds)
        book.stop.set()
        for thread in threads:
            thread.join(60)
        time.sleep(1)
        book.counts["files open at the end"] = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    return book


def growth(memory: Sequence[float]) -> tuple[float, float]:
    """Return the growth of the mean memory from the first to the second half in MB, and the slope in MB per hour."""
    kept = np.array(memory[len(memory) // 10 :])
    half = len(kept) // 2
    slope = float(np.polyfit(np.arange(len(kept)), kept, 1)[0]) * 3600 / PROBE_INTERVAL
    return float(kept[half:].mean() - kept[:half].mean()), slope


def main() -> None:
    """Print the results; exit with status 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    seconds = 60 * parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        control = soak("control", ["benchmarks.leaking_control"], min(60.0, seconds), Path(name))
        leaked, _ = growth(control.memory)
        print(f"control, which leaks {LEAK >> 10} KiB a request: grew by {leaked:.0f} MB", flush=True)
        book = soak("hourglass", ["service", "serve"], seconds, Path(name))
    grown, slope = growth(book.memory)
    print(json.dumps(dict(sorted(book.counts.items())), indent=1))
    begun, most, ended = book.memory[0], max(book.memory), book.memory[-1]
    print(f"memory: {begun:.0f} MB at the start, {most:.0f} MB at most, {ended:.0f} MB at the end;", end=" ")
    print(f"second half {grown:+.1f} MB (limit {GROWTH:g}), slope {slope:+.0f} MB per hour")
    print(f"/livez: {max(book.health) * 1e3:.0f} ms at most (limit {MAX_LIVEZ_SECONDS * 1e3:g})")
    for what, count in Counter(book.errors).most_common(20):
        print(f"FAILED {count} times: {what}")
    fine = not book.errors and grown <= GROWTH < leaked and max(book.health) <= MAX_LIVEZ_SECONDS
    print("passed" if fine else "FAILED")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

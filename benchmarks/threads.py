"""`python -m benchmarks.threads`: several threads in one run against several concurrent runs of one thread.

It justifies the rule in `service/runtime/tuning.py`: one thread per run for inputs of fixed size.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks import fixtures
from benchmarks.payloads import digits, photo
from service.runtime.hardware import available_cores
from service.runtime.session import Session

ROUNDS, SECONDS = 5, 1.0


def rate(session: Session, batch: NDArray[np.uint8], callers: int) -> float:
    """Return items per second of concurrent callers."""
    end = time.perf_counter() + SECONDS

    def call(_: int) -> int:
        runs = 0
        while time.perf_counter() < end:
            session.run(batch)
            runs += 1
        return runs

    start = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        runs = sum(pool.map(call, range(callers)))
    return runs * len(batch) / (time.perf_counter() - start)


def main() -> None:
    """Print one row per graph and batch: both ways relative to one caller with one thread, medians of rounds."""
    count = available_cores().value
    print(f"| graph, items a run | one run on {count} threads | {count} runs on one thread each |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        fixtures.publish_all(Path(folder))
        cases = [("dense", n, digits(n)) for n in (1, 32, 256)] + [("conv", n, digits(n)) for n in (1, 8)]
        for name, items, batch in [*cases, ("photo", 1, photo()[np.newaxis])]:
            graph = (Path(folder) / name / "1" / "denoise.onnx").read_bytes()
            single, several = Session(graph, intra_op_threads=1), Session(graph, intra_op_threads=count)
            rounds = [
                (rate(single, batch, 1), rate(several, batch, 1), rate(single, batch, count)) for _ in range(ROUNDS)
            ]
            within, beside = (median(row[at] / row[0] for row in rounds) for at in (1, 2))
            print(f"| {name}, {items} | {within:.2f} | {beside:.2f} |", flush=True)


if __name__ == "__main__":
    main()

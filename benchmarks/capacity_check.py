"""Latencies of the running service beside those of the queueing model: `python -m benchmarks.capacity_check`.

The service runs on one core, the generator of Poisson arrivals on the other. Every round measures the figures of the
model first, and the latencies at shares of the capacity right after. FastAPI's echo at the same rates shows the tail
that the machine has by itself. `photographs` in place of `digits` compares photo-fast with 1-megapixel JPEG.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks import fixtures, payloads
from benchmarks.capacity import BatchModel, Noise, simulate_batches, simulate_photos
from benchmarks.load import Request, load
from benchmarks.load_cases import LOAD_CORE, PNG, SERVER_CORE, command, start_hourglass
from benchmarks.open_loop import lone_latencies, poisson_load
from benchmarks.process import Server, free_port

MODELS = Path(__file__).parent.parent / "models"
SHARES = (0.3, 0.6, 0.8)
PHOTO_SHARES = (0.4, 0.7)
PHOTOGRAPHS = 45
CONNECTIONS = 32
COLUMNS = (
    "share of the capacity",
    "requests/s",
    "measured p50, p99, ms",
    "modelled",
    "without noise",
    "measured over modelled p99 (rounds)",
    "echo",
    "p99 of lateness",
)
PHOTO_COLUMNS = ("share of the capacity", "requests/s", "measured p50, p90, p99, ms", "modelled", "ratios")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Latencies at one load in seconds, measured and modelled, those of the echo, and how late requests were sent."""

    rate: float
    measured: NDArray[np.float64]
    modelled: NDArray[np.float64]
    without_noise: NDArray[np.float64]
    echo: NDArray[np.float64]
    lateness: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """Measured p99 over the modelled one."""
        return float(np.percentile(self.measured, 99) / np.percentile(self.modelled, 99))


def milliseconds(latencies: NDArray[np.float64], *percentiles: float) -> str:
    """Return percentiles as text."""
    return ", ".join(f"{1e3 * value:.2f}" for value in np.percentile(latencies, percentiles))


def digits_round(folder: Path, seconds: float) -> list[Comparison]:
    """Measure one round of digits. Raises RuntimeError if a request failed."""
    with ExitStack() as stack:
        port = free_port()
        app = command("benchmarks.floors.fastapi_echo:app", port)
        floor = Server("echo", app, port=port, cores=SERVER_CORE, log=folder / "echo.log", ready="/livez", environ={})
        echo = stack.enter_context(floor).wait()
        server = stack.enter_context(start_hourglass(folder, folder / "models")).wait()
        for length in (1, 3):  # the first is the warm-up
            many = load(server.port, PNG, connections=CONNECTIONS, seconds=length, cores=LOAD_CORE, folder=folder)
        alone = lone_latencies(server.port, PNG, 3)
        model, noise = BatchModel.of(many.rate, float(np.median(alone))), Noise.of(alone)
        print(f"{many.rate:.0f} requests/s at {CONNECTIONS} connections, {milliseconds(alone, 50)} ms at one")
        print(f"noise of {noise.percentiles} %: {[round(1e6 * value) for value in noise.seconds]} microseconds")
        return [_compare(server, echo, share * many.rate, seconds, model, noise) for share in SHARES]


def _compare(server: Server, echo: Server, rate: float, seconds: float, model: BatchModel, noise: Noise) -> Comparison:
    result = poisson_load(server.port, PNG, rate=rate, seconds=seconds)
    if result.failed:
        raise RuntimeError(f"{result.failed} requests failed")
    floor = poisson_load(echo.port, PNG, rate=rate, seconds=seconds / 3)
    modelled, plain = simulate_batches(rate, model, noise), simulate_batches(rate, model)
    return Comparison(rate, result.latencies, modelled, plain, floor.latencies, result.lateness)


def digits(folder: Path, rounds: int, seconds: float) -> list[str]:
    """Return the rows of digits: at each share, those of the round with the median ratio."""
    fixtures.publish_all(folder / "models")
    measured = [digits_round(folder, seconds) for _ in range(rounds)]
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for share, comparisons in zip(SHARES, zip(*measured, strict=True), strict=True):
        ratios = [one.ratio for one in comparisons]
        one = min(comparisons, key=lambda comparison: abs(comparison.ratio - median(ratios)))
        cells = [f"{share:.0%}", f"{one.rate:,.0f}"]
        cells += [milliseconds(latencies, 50, 99) for latencies in (one.measured, one.modelled, one.without_noise)]
        cells += [f"{one.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
        cells += [milliseconds(one.echo, 50, 99), milliseconds(one.lateness, 99)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def photographs(folder: Path) -> list[str]:
    """Return the rows of photographs: the same arrivals, sent to the service and simulated."""
    port = free_port()
    environ = {"HOURGLASS_MODELS_DIR": str(MODELS), "HOURGLASS_PORT": str(port)}
    environ["HOURGLASS_HEADER_TIMEOUT"] = "300"  # the connections are opened long before they are used
    serve = [sys.executable, "-m", "service", "serve"]
    request = Request("/denoise?model=photo-fast", payloads.picture(payloads.photo(), "JPEG"), "image/jpeg")
    log = folder / "photographs.log"
    lines = [f"| {' | '.join(PHOTO_COLUMNS)} |", "|" + "---|" * len(PHOTO_COLUMNS)]
    with Server("hourglass", serve, port=port, cores=SERVER_CORE, log=log, ready="/readyz", environ=environ) as server:
        server.wait()
        lone_latencies(port, request, 1)
        seconds = float(np.median(lone_latencies(port, request, 4)))
        print(f"{seconds:.3f} s for a photograph alone")
        for share in PHOTO_SHARES:
            rate = share / seconds
            result = poisson_load(port, request, rate=rate, seconds=PHOTOGRAPHS / rate)
            modelled = simulate_photos(rate, seconds, 1, count=PHOTOGRAPHS)
            measured = result.latencies
            cells = [f"{share:.0%}", f"{rate:.2f}"]
            cells += [milliseconds(latencies, 50, 90, 99) for latencies in (measured, modelled)]
            ratios = np.percentile(measured, (50, 90, 99)) / np.percentile(modelled, (50, 90, 99))
            lines.append(f"| {' | '.join([*cells, ', '.join(f'{ratio:.2f}' for ratio in ratios)])} |")
    return lines


def main(arguments: Sequence[str]) -> None:
    """Print the table of one kind of load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", choices=("digits", "photographs"), nargs="?", default="digits")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of digits")
    parser.add_argument("--seconds", type=float, default=6, help="seconds of each load of digits")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory() as name:
        if options.load == "digits":
            print("\n".join(digits(Path(name), options.rounds, options.seconds)))
        else:
            print("\n".join(photographs(Path(name))))


if __name__ == "__main__":
    main(sys.argv[1:])

"""How many cores a load needs, by queueing formulas: `python -m benchmarks.capacity` prints docs/scale.md's table.

Digits are small: a worker joins those that wait into a batch, which takes a fixed time and a time for each item
(Inoue 2021, "Queueing analysis of GPU-based inference servers with dynamic batching"). Photographs are large: each
occupies a core for a constant time (M/D/k; waiting times as Allen and Cunneen approximate them, from Erlang's C).
Both are compared with a discrete-event simulation by tests/benchmarks/test_capacity.py.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COST_PER_CORE_HOUR = 0.04
"""An assumption, in any currency: the price of a rented core."""
RATES = (1, 100, 10_000)
MEGAPIXELS = 12
PHOTO_TARGET = 2.0
"""The p99 to reach, in multiples of the time of one photograph on one core."""
DIGIT_TARGET_SECONDS = 0.010
MAX_UTILIZATION = 0.8
"""A reserve for what no formula of Poisson arrivals knows: peaks, updates, lost machines."""
SIMULATED_REQUESTS = 200_000
NOISE_PERCENTILES = (50, 90, 95, 99, 99.5, 99.9, 100)


@dataclass(frozen=True)
class PhotoModel:
    """Measured figures: the net's speed on one thread, and the part of it that the service reaches."""

    name: str
    megapixels_per_second: float
    efficiency: float

    @property
    def seconds(self) -> float:
        """Seconds of one core for one photograph of MEGAPIXELS, decoded and encoded as JPEG."""
        return MEGAPIXELS / (self.megapixels_per_second * self.efficiency)


@dataclass(frozen=True)
class BatchModel:
    """Measured figures of a worker: seconds of a batch, and of each item in it."""

    batch_seconds: float
    item_seconds: float

    @classmethod
    def of(cls, rate: float, alone: float) -> "BatchModel":
        """Return the model of a worker with `rate` requests/s at many connections and `alone` seconds at one."""
        return cls(batch_seconds=alone - 1 / rate, item_seconds=1 / rate)

    @property
    def capacity(self) -> float:
        """Largest number of requests per second."""
        return 1 / self.item_seconds


@dataclass(frozen=True)
class Noise:
    """Seconds that a batch takes longer than usual: percentiles of the excess of a lone request over the median."""

    percentiles: tuple[float, ...] = (0, 100)
    seconds: tuple[float, ...] = (0.0, 0.0)

    @classmethod
    def of(cls, latencies: NDArray[np.float64]) -> "Noise":
        """Return the noise of latencies at one connection, in seconds."""
        seconds = np.percentile(latencies, NOISE_PERCENTILES) - np.median(latencies)
        return cls(NOISE_PERCENTILES, tuple(float(value) for value in seconds))

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Return the excess of `count` batches."""
        return np.interp(random.uniform(0, 100, count), self.percentiles, self.seconds)


NO_NOISE = Noise()
DIGITS_NOISE = Noise(NOISE_PERCENTILES, (0.0, 68e-6, 96e-6, 340e-6, 1957e-6, 4359e-6, 6849e-6))
"""Measured by benchmarks.capacity_check on an AMD EPYC with AVX-512 and VNNI, a virtual machine."""


# The only numbers that are measured, all on an AMD EPYC with AVX-512 and VNNI. Speeds: half of what onnxruntime alone
# does on both cores, photo in int8, and the share of it with tiles that overlap and JPEG: photographs.md. Digits:
# serving.md, one worker, PNG to denoised PNG: 4,592 requests/s at 32 connections, 0.463 ms at one. Both tables are
# in benchmarks/results/amd-epyc-avx512-vnni/.
PHOTO_MODELS = (PhotoModel("photo", 3.14 / 2, 0.79), PhotoModel("photo-fast", 5.06 / 2, 0.75))
DIGITS = BatchModel.of(rate=4592, alone=0.463e-3)


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that a request waits in M/M/k. `load` is the mean number of busy servers."""
    if load >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def photo_p99(rate: float, seconds: float, cores: int) -> float:
    """Return the 99th percentile of the latency of M/D/k in seconds, or infinity if the cores do not suffice.

    The tail of the waiting time is exponential, with half the mean of M/M/k, because the service time is constant.
    """
    load = rate * seconds
    if load >= cores:
        return math.inf
    waiting = erlang_c(cores, load)
    if waiting <= 0.01:
        return seconds
    return seconds + seconds / (2 * (cores - load)) * math.log(waiting / 0.01)


def batch_mean(rate: float, model: BatchModel) -> float:
    """Return an upper bound of the mean latency of one worker that batches, in seconds.

    Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching", Performance Evaluation 147 (2021).
    """
    per_item, fixed = model.item_seconds, model.batch_seconds
    busy = rate * per_item
    if busy >= 1:
        return math.inf
    low = (per_item + fixed) / (2 * (1 - busy)) * (1 + 2 * rate * fixed + (1 - rate * fixed) / (1 + busy))
    high = 1.5 * fixed / (1 - busy) + per_item / 2 * (busy + 2) / (1 - busy * busy)
    return min(low, high)


def simulate_photos(
    rate: float, seconds: float, cores: int, seed: int = 0, count: int = SIMULATED_REQUESTS
) -> NDArray[np.float64]:
    """Return latencies of Poisson arrivals in order at cores that each take `seconds`."""
    arrivals = _arrivals(rate, seed, count)
    free = [0.0] * cores
    latencies = np.empty(len(arrivals))
    for number, arrival in enumerate(arrivals):
        end = max(arrival, free[0]) + seconds
        heapq.heapreplace(free, end)
        latencies[number] = end - arrival
    return latencies[len(latencies) // 10 :]


def simulate_batches(rate: float, model: BatchModel, noise: Noise = NO_NOISE, seed: int = 0) -> NDArray[np.float64]:
    """Return latencies of Poisson arrivals at a worker that takes all that wait as its next batch."""
    arrivals = _arrivals(rate, seed)
    excess = noise.draw(np.random.default_rng(seed + 1), len(arrivals))
    latencies: list[float] = []
    first, free = 0, 0.0
    while first < len(arrivals):
        start = max(free, arrivals[first])
        after = int(np.searchsorted(arrivals, start, "right"))
        free = start + model.batch_seconds + model.item_seconds * (after - first) + excess[first]
        latencies.extend(free - arrivals[first:after])
        first = after
    return np.array(latencies[len(latencies) // 10 :])


def _arrivals(rate: float, seed: int, count: int = SIMULATED_REQUESTS) -> NDArray[np.float64]:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def smallest(enough: Callable[[int], bool], low: int) -> int:
    """Return the smallest whole number from `low` on that is enough; those above it are enough, too."""
    high = low
    while not enough(high):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def photo_cores(rate: float, seconds: float) -> int:
    """Return how many cores keep the p99 of photographs within PHOTO_TARGET."""
    low = math.ceil(rate * seconds / MAX_UTILIZATION)
    return smallest(lambda cores: photo_p99(rate, seconds, cores) <= PHOTO_TARGET * seconds, low)


def digit_rate() -> float:
    """Return the requests per second of one worker at which the simulated p99 is DIGIT_TARGET_SECONDS."""
    shares = np.arange(1, 17) / 16 * MAX_UTILIZATION
    good = [
        share
        for share in shares
        if np.percentile(simulate_batches(share * DIGITS.capacity, DIGITS, DIGITS_NOISE), 99) <= DIGIT_TARGET_SECONDS
    ]
    return float(max(good)) * DIGITS.capacity


def tables() -> str:
    """Return the tables of docs/scale.md."""
    lines = [
        "| load | requests/s | cores (modelled) | p99 (modelled) | cost per hour (modelled) |",
        "|---|---|---|---|---|",
    ]
    per_core = digit_rate()
    for rate in RATES:
        cores = math.ceil(rate / per_core)
        p99 = float(np.percentile(simulate_batches(rate / cores, DIGITS, DIGITS_NOISE), 99))
        lines.append(_row("digits", rate, cores, f"{p99 * 1000:.1f} ms"))
    for model in PHOTO_MODELS:
        for rate in RATES:
            cores = photo_cores(rate, model.seconds)
            lines.append(_row(model.name, rate, cores, f"{photo_p99(rate, model.seconds, cores):.1f} s"))
    return "\n".join(lines)


def _row(name: str, rate: float, cores: int, p99: str) -> str:
    return f"| {name} | {rate:,} | {cores:,} | {p99} | {cores * COST_PER_CORE_HOUR:,.2f} |"


if __name__ == "__main__":
    print(tables())
    for one in PHOTO_MODELS:
        print(f"{one.name}: {one.seconds:.1f} s of one core for {MEGAPIXELS} megapixels")
    print(f"digits: {digit_rate():,.0f} of {DIGITS.capacity:,.0f} requests/s for each core")

"""What is counted under which name: lists of numbers while requests run, Prometheus' text when somebody scrapes.

With several workers each leaves its numbers in a file of a shared folder, before it adds them all up for a scrape and
once a second, so that no sum ever falls. Knows no request and no model.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic_ns
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.card import Operation
from service.telemetry.timings import Timings

METRICS_DIR_ENV = "_HOURGLASS_METRICS_DIR"  # set by the server before workers start
DURATION_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
STAGES = ("decode", "queue", "run", "encode")

Labels = tuple[str, ...]
Rows = dict[Labels, list[float]]  # of a counter or gauge its value; of a histogram a count a bucket, then the sum


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric: its name, what it says, its labels, and a histogram's upper bounds."""

    name: str
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()

    def new_row(self) -> list[float]:
        """Nothing counted yet; beyond the last bucket is one more."""
        return [0.0] * (len(self.buckets) + 2 if self.buckets else 1)


REQUESTS: Final = MetricSpec("hourglass_requests", "Completed requests.", ("route", "model", "code"))
REQUEST_DURATION: Final = MetricSpec(
    "hourglass_request_duration_seconds",
    "Time from the request head to the end of the response.",
    ("route",),
    DURATION_BUCKETS,
)
STAGE_DURATION: Final = MetricSpec(
    "hourglass_stage_duration_seconds", "Duration of the stages of a request.", ("stage",), DURATION_BUCKETS
)
BATCH_SIZE: Final = MetricSpec(
    "hourglass_batch_size", "Items in one inference run.", ("model", "operation"), BATCH_SIZE_BUCKETS
)
INFLIGHT_ITEMS: Final = MetricSpec("hourglass_inflight_items", "Items admitted and not yet answered.")
FAMILIES: Final = (REQUESTS, REQUEST_DURATION, STAGE_DURATION, BATCH_SIZE)


class Metrics(Collector):
    """The numbers of this process, and at a scrape those of all workers of `folder`."""

    def __init__(self, inflight_items: Callable[[], int], folder: Path | None = None) -> None:
        self._inflight_items = inflight_items
        self._rows: dict[str, Rows] = {definition.name: {} for definition in FAMILIES}
        self._stage_rows = [self._get_row(STAGE_DURATION, (stage,)) for stage in STAGES]
        self._request_rows: dict[tuple[str, str, int], tuple[list[float], list[float]]] = {}
        self._lock = Lock()  # batches end on several threads
        self._file = folder / f"{os.getpid()}-{monotonic_ns()}.json" if folder else None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count_request(self, route: str, model: str, code: int, seconds: float) -> None:
        """Count an answer. `path` and `model` are names of ours, never the caller's words."""
        rows = self._request_rows.get((route, model, code))
        if rows is None:
            rows = self._get_row(REQUESTS, (route, model, str(code))), self._get_row(REQUEST_DURATION, (route,))
            self._request_rows[route, model, code] = rows
        rows[0][0] += 1
        _observe(rows[1], DURATION_BUCKETS, seconds)

    def observe_timings(self, timings: Timings) -> None:
        """Observe the stages of a request."""
        decode, queue, run, encode = self._stage_rows
        _observe(decode, DURATION_BUCKETS, timings.decode)
        _observe(queue, DURATION_BUCKETS, timings.queue)
        _observe(run, DURATION_BUCKETS, timings.run)
        _observe(encode, DURATION_BUCKETS, timings.encode)

    def observe_batch(self, model: str, operation: Operation, items: int) -> None:
        """Observe the items of one model run."""
        with self._lock:
            _observe(self._get_row(BATCH_SIZE, (model, operation)), BATCH_SIZE_BUCKETS, items)

    def _get_row(self, definition: MetricSpec, labels: Labels) -> list[float]:
        rows = self._rows[definition.name]
        found = rows.get(labels)
        if found is None:
            found = rows[labels] = definition.new_row()
        return found

    def render(self) -> bytes:
        """The text format of Prometheus, over all workers."""
        return generate_latest(self._registry)

    def flush(self) -> None:
        """Leave the numbers where the other workers add them up; nothing to do for a lone one."""
        if self._file is None:
            return
        with self._lock:  # a batch on another thread may add a row
            rows = {name: [[labels, row] for labels, row in rows.items()] for name, rows in self._rows.items()}
        beside = self._file.with_suffix(".part")
        with suppress(OSError):  # as where the disk is full: nothing is lost, the next second tries again
            beside.write_bytes(orjson.dumps({"rows": rows, "admitted": self._inflight_items()}))
            beside.replace(self._file)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        self.flush()
        with self._lock:
            total = {name: {**rows} for name, rows in self._rows.items()}
        admitted = self._inflight_items()
        for file in self._file.parent.glob("*.json") if self._file else ():
            if file == self._file:
                continue
            with suppress(OSError, orjson.JSONDecodeError):  # a worker is leaving
                found = orjson.loads(file.read_bytes())
                admitted += found["admitted"] if _process_exists(int(file.stem.partition("-")[0])) else 0
                for name, rows in found["rows"].items():
                    _add_rows(total[name], rows)
        for definition in FAMILIES:
            yield _metric_family(definition, total[definition.name])
        yield GaugeMetricFamily(INFLIGHT_ITEMS.name, INFLIGHT_ITEMS.help, admitted)


async def flush_periodically(metrics: Metrics) -> None:
    """Once a second, until cancelled: a worker that is killed takes no more than that with it."""
    while True:
        await asyncio.sleep(1)
        metrics.flush()


def _observe(row: list[float], bounds: tuple[float, ...], value: float) -> None:
    row[bisect_left(bounds, value)] += 1
    row[-1] += value


def _add_rows(total: Rows, rows: list[tuple[list[str], list[float]]]) -> None:
    for labels, row in rows:
        mine = total.get(tuple(labels))
        total[tuple(labels)] = [a + b for a, b in zip(mine, row, strict=True)] if mine else row


def _metric_family(definition: MetricSpec, rows: Rows) -> Metric:
    if not definition.buckets:
        counter = CounterMetricFamily(definition.name, definition.help, labels=definition.labels)
        for labels, row in rows.items():
            counter.add_metric(labels, row[0])
        return counter
    histogram = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
    bounds = [*(str(float(bound)) for bound in definition.buckets), "+Inf"]
    for labels, (*counts, total) in rows.items():
        below = [sum(counts[: at + 1]) for at in range(len(counts))]
        histogram.add_metric(labels, list(zip(bounds, below, strict=True)), total)
    return histogram


def _process_exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True

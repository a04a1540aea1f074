"""Metrics in the text format of Prometheus: counts requests and batches, and sums up all workers at a scrape.

Requests only increment numbers in lists, which are converted at a scrape. With several workers, each writes its numbers
to a file in a shared folder once per second, and before it adds up the files for a scrape. The files of workers that
have ended stay, so that no counter ever decreases.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from time import monotonic_ns, time_ns

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.telemetry.metric_specs import (
    BATCH_SIZE,
    BATCH_SIZE_BUCKETS,
    DURATION_BUCKETS,
    EXPORTED,
    FAMILIES,
    FIGURES,
    GAUGES,
    IMAGE_TILES,
    INFLIGHT_BYTES,
    INFLIGHT_ITEMS,
    LAST_INFERENCE,
    MODEL_LOAD_DURATION,
    MODEL_LOADS,
    PENDING_TILES,
    REJECTIONS,
    REQUEST_DURATION,
    REQUEST_STATISTICS,
    REQUESTS,
    STAGE_DURATION,
    STAGES,
    STATISTICS,
    TILE_BUCKETS,
    TILES,
    VERSION_DURATION,
    Labels,
    MetricSpec,
    Rows,
)
from service.telemetry.process_metrics import process_metrics
from service.telemetry.timings import Timings
from service.types import GraphKey, LoadResult, TileOutcome

METRICS_DIR_ENV = "_HOURGLASS_METRICS_DIR"  # environment variable, set before workers start


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of all graphs: rows of STATISTICS and of LAST_INFERENCE."""

    counts: Rows
    last_inference: Rows


class Metrics(Collector):
    """The metrics of this process. A scrape adds those of all workers that share `folder`.

    `inflight_items` and `inflight_bytes` return what is admitted now. `sources` yield further metrics at a scrape,
    which are the same in all workers.
    """

    def __init__(
        self,
        inflight_items: Callable[[], int],
        folder: Path | None = None,
        inflight_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._gauges = {INFLIGHT_ITEMS.name: inflight_items, INFLIGHT_BYTES.name: inflight_bytes}
        self._gauges[PENDING_TILES.name] = self._pending_tiles
        self.sources: list[Callable[[], Iterator[Metric]]] = []
        self._rows: dict[str, Rows] = {spec.name: {} for spec in FAMILIES}
        self._stage_rows: dict[tuple[str, str], list[list[float]]] = {}
        self._request_rows: dict[tuple[str, str, int, str], tuple[list[float], list[float]]] = {}
        self._statistics_rows: dict[GraphKey, list[list[float]]] = {}
        self._batch_rows: dict[tuple[GraphKey, int], tuple[list[float], list[float]]] = {}
        self._lock = Lock()  # batches are observed on several threads
        self._file = folder / f"{os.getpid()}-{monotonic_ns()}.json" if folder else None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count_request(self, route: str, model: str, code: int, seconds: float, protocol: str = "http") -> None:
        """Count a response that took `seconds`.

        `protocol`: http, v2 (Open Inference Protocol over HTTP) or grpc. `route` and `model` must be names of the
        service and not values of the request, which could have any number of values.
        """
        rows = self._request_rows.get((route, model, code, protocol))
        if rows is None:
            labels = route, model, str(code), protocol
            rows = self._get_row(REQUESTS, labels), self._get_row(REQUEST_DURATION, (route, model))
            self._request_rows[route, model, code, protocol] = rows
        rows[0][0] += 1
        _observe(rows[1], DURATION_BUCKETS, seconds)

    def count_rejection(self, reason: str) -> None:
        """Count a request that was answered with a problem. `reason`: the type of the problem."""
        self._get_row(REJECTIONS, (reason,))[0] += 1

    def observe_figures(self, model: str, operation: str, figures: Mapping[str, float]) -> None:
        """Observe the error percentile and the noise of an item, if it has them. Can be called from any thread."""
        for name, spec in FIGURES.items():
            if name in figures:
                with self._lock:
                    _observe(self._get_row(spec, (model, operation)), spec.buckets, figures[name])

    def _observe_stages(self, graph: GraphKey, timings: Timings) -> None:
        key = graph.model, graph.operation
        rows = self._stage_rows.get(key)
        if rows is None:
            rows = self._stage_rows[key] = [self._get_row(STAGE_DURATION, (stage, *key)) for stage in STAGES]
        for row, seconds in zip(rows, timings, strict=True):
            _observe(row, DURATION_BUCKETS, seconds)

    def observe_batch(self, graph: GraphKey, items: int, seconds: float) -> None:
        """Observe the number of items of one run of a graph, and its duration. Can be called from any thread."""
        with self._lock:
            rows = self._batch_rows.get((graph, items))
            if rows is None:
                rows = (
                    self._get_row(BATCH_SIZE, (graph.model, graph.operation)),
                    self._get_row(STATISTICS, (*graph, f"batch_{items}")),
                )
                self._batch_rows[graph, items] = rows
            _observe(rows[0], BATCH_SIZE_BUCKETS, items)
            _count(rows[1], seconds)

    def observe_image(self, graph: GraphKey, tiles: int) -> None:
        """Observe the number of tiles of an image that was queued. Called on the event loop."""
        _observe(self._get_row(IMAGE_TILES, (graph.model, graph.operation)), TILE_BUCKETS, tiles)

    def count_tiles(self, graph: GraphKey, outcome: TileOutcome, tiles: int) -> None:
        """Count tiles that are done. Called on the event loop."""
        self._get_row(TILES, (graph.model, graph.operation, outcome))[0] += tiles

    def _pending_tiles(self) -> int:
        queued = sum(row[-1] for row in self._rows[IMAGE_TILES.name].values())
        return int(queued - sum(row[0] for row in self._rows[TILES.name].values()))

    def observe_load(self, model: str, result: LoadResult, seconds: float) -> None:
        """Observe an attempt to load a version of a model. Can be called from any thread."""
        with self._lock:
            self._get_row(MODEL_LOADS, (model, result))[0] += 1
            _observe(self._get_row(MODEL_LOAD_DURATION, (model,)), DURATION_BUCKETS, seconds)

    def observe_inference(self, graph: GraphKey, items: int, timings: Timings) -> None:
        """Observe a successful request to a graph: its items and the durations of its stages."""
        self._observe_stages(graph, timings)
        success, _, queue, decode, run, encode, total_items, last = self._graph_rows(graph)
        _count(success, timings.total)
        _count(queue, timings.queue)
        _count(decode, timings.decode)
        _count(run, timings.run)
        _count(encode, timings.encode)
        total_items[0] += items
        last[0] = time_ns() // 1_000_000
        _observe(self._get_row(VERSION_DURATION, (*graph, "success")), DURATION_BUCKETS, timings.total)

    def observe_failure(self, graph: GraphKey, seconds: float) -> None:
        """Observe a request to a graph that failed after `seconds`, was rejected or was given up by its client."""
        _count(self._graph_rows(graph)[1], seconds)
        _observe(self._get_row(VERSION_DURATION, (*graph, "failure")), DURATION_BUCKETS, seconds)

    def _graph_rows(self, graph: GraphKey) -> list[list[float]]:
        rows = self._statistics_rows.get(graph)
        if rows is None:
            rows = [self._get_row(STATISTICS, (*graph, name)) for name in REQUEST_STATISTICS]
            rows.append(self._get_row(LAST_INFERENCE, tuple(graph)))
            self._statistics_rows[graph] = rows
        return rows

    def _get_row(self, spec: MetricSpec, labels: Labels) -> list[float]:
        rows = self._rows[spec.name]
        row = rows.get(labels)
        if row is None:
            row = rows[labels] = spec.new_row()
        return row

    def render(self) -> bytes:
        """Return the metrics of all workers in the text format of Prometheus."""
        return generate_latest(self._registry)

    def flush(self) -> None:
        """Write the numbers to the shared folder. Do nothing without one."""
        if self._file is None:
            return
        with self._lock:  # another thread may add a row
            rows = {name: [[labels, row] for labels, row in rows.items()] for name, rows in self._rows.items()}
        temporary = self._file.with_suffix(".part")
        with suppress(OSError):  # for example, the disk is full; the next call tries again
            temporary.write_bytes(orjson.dumps({"rows": rows, "gauges": self._read_gauges()}))
            temporary.replace(self._file)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all workers. Called by the registry at a scrape."""
        total, gauges = self._totals()
        for spec in EXPORTED:
            yield _metric_family(spec, total[spec.name])
        for spec in GAUGES:
            yield GaugeMetricFamily(spec.name, spec.help, gauges[spec.name])
        for source in self.sources:
            yield from source()
        yield from process_metrics(self._pids())

    def statistics(self) -> "Statistics":
        """Return the statistics of all graphs, of all workers."""
        total, _ = self._totals()
        return Statistics(total[STATISTICS.name], total[LAST_INFERENCE.name])

    def _read_gauges(self) -> dict[str, int]:
        return {name: read() for name, read in self._gauges.items()}

    def _pids(self) -> set[int]:
        """Return the ids of the workers that run."""
        files = self._file.parent.glob("*.json") if self._file else ()
        return {os.getpid(), *(pid for file in files if _process_exists(pid := _pid(file)))}

    def _totals(self) -> tuple[dict[str, Rows], dict[str, int]]:
        """Return the rows of all workers and their gauges, by the names of the metrics."""
        self.flush()
        with self._lock:
            total = {name: {**rows} for name, rows in self._rows.items()}
        gauges = self._read_gauges()
        for file in self._file.parent.glob("*.json") if self._file else ():
            if file == self._file:
                continue
            with suppress(OSError, orjson.JSONDecodeError):  # the file is unreadable for now; skip that worker
                snapshot = orjson.loads(file.read_bytes())
                if _process_exists(_pid(file)):
                    gauges = {name: value + snapshot["gauges"][name] for name, value in gauges.items()}
                for spec in FAMILIES:
                    _add_rows(total[spec.name], snapshot["rows"][spec.name], spec.combine)
        return total, gauges


async def flush_periodically(metrics: Metrics) -> None:
    """Call `flush` once per second until cancelled, so that a killed worker loses at most one second of counts."""
    while True:
        await asyncio.sleep(1)
        metrics.flush()


def _observe(row: list[float], bounds: tuple[float, ...], value: float) -> None:
    row[bisect_left(bounds, value)] += 1
    row[-1] += value


def _count(row: list[float], seconds: float) -> None:
    row[0] += 1
    row[1] += seconds


def _add_rows(total: Rows, rows: list[tuple[list[str], list[float]]], combine: Callable[[float, float], float]) -> None:
    for labels, row in rows:
        sums = total.get(tuple(labels))
        total[tuple(labels)] = [combine(a, b) for a, b in zip(sums, row, strict=True)] if sums else row


def _metric_family(spec: MetricSpec, rows: Rows) -> Metric:
    if not spec.buckets:
        counter = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, row in rows.items():
            counter.add_metric(labels, row[0])
        return counter
    histogram = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
    bounds = [*(str(float(bound)) for bound in spec.buckets), "+Inf"]
    for labels, (*counts, total) in rows.items():
        cumulative_counts = list(accumulate(counts))
        histogram.add_metric(labels, list(zip(bounds, cumulative_counts, strict=True)), total)
    return histogram


def _pid(file: Path) -> int:
    return int(file.stem.partition("-")[0])


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True

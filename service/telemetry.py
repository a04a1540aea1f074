"""Metrics and logs: what is counted under which name, and how a line is written. Knows no request and no model."""

import logging
import os
import sys
from typing import Literal

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service.card import Operation

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # set by the server before workers start; read by prometheus_client
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGES = ("decode", "queue", "run", "encode")


class Metrics:
    """The service's metrics, one object per process; with several workers a scrape adds them all up."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "hourglass_requests", "Requests answered.", ["path", "model", "status"], registry=registry
        )
        self._seconds = Histogram(
            "hourglass_request_seconds", "From head to answer.", ["path"], buckets=SECONDS, registry=registry
        )
        self._stages = Histogram(
            "hourglass_stage_seconds", "Parts of a request.", ["stage"], buckets=SECONDS, registry=registry
        )
        self._batches = Histogram(
            "hourglass_batch_items",
            "Items of a model run.",
            ["model", "operation"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.items = Gauge(
            "hourglass_admitted_items", "Items under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._stage_children = [self._stages.labels(stage) for stage in STAGES]

    def request(self, path: str, model: str, status: int, seconds: float) -> None:
        """Count an answer. `path` and `model` are names of ours, never the caller's words."""
        key = (path, model, status)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(path, model, status), self._seconds.labels(path)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def stages(self, seconds: tuple[float, float, float, float]) -> None:
        """Observe the parts of a request, in the order of STAGES."""
        for child, value in zip(self._stage_children, seconds, strict=True):
            child.observe(value)

    def batch(self, model: str, operation: Operation, items: int) -> None:
        """Observe the items of one model run."""
        self._batches.labels(model, operation).observe(items)

    def text(self) -> bytes:
        """The text format of Prometheus, over all workers."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


def configure_logs(form: Literal["auto", "json", "human"], level: str) -> None:
    """Lines on stderr, of ours and of the libraries alike, as JSON or for people."""
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    quiet = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals are the callers' pictures
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if human
        else [structlog.processors.ExceptionRenderer(quiet), structlog.processors.JSONRenderer(_json)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()

"""The metrics that requests, batches and models change: names, help texts, labels and buckets."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import add
from typing import Final

from service.types import GraphKey

DURATION_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
TILE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PERCENTILE_BUCKETS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
NOISE_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
STAGES = ("decode", "queue", "run", "encode")

Labels = tuple[str, ...]
Rows = dict[Labels, list[float]]
"""Numbers by label values: the value of a counter, or one count per bucket of a histogram and the sum."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric: its name, help text, label names, and the upper bounds of a histogram.

    `width`: numbers of a row, unless there are buckets. `combine` adds up the numbers of two workers.
    """

    name: str
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()
    width: int = 1
    combine: Callable[[float, float], float] = add

    def new_row(self) -> list[float]:
        """Return a row of zeros. A histogram has one more bucket, above the last bound."""
        return [0.0] * (len(self.buckets) + 2 if self.buckets else self.width)


REQUESTS: Final = MetricSpec("hourglass_requests", "Completed requests.", ("route", "model", "code", "protocol"))
REQUEST_DURATION: Final = MetricSpec(
    "hourglass_request_duration_seconds",
    "Time from the request head to the end of the response.",
    ("route", "model"),
    DURATION_BUCKETS,
)
STAGE_DURATION: Final = MetricSpec(
    "hourglass_stage_duration_seconds",
    "Duration of the stages of a request.",
    ("stage", "model", "operation"),
    DURATION_BUCKETS,
)
REJECTIONS: Final = MetricSpec(
    "hourglass_rejections", "Requests answered with a problem, by its type: invalid, refused or failed.", ("reason",)
)
ERROR_PERCENTILE: Final = MetricSpec(
    "hourglass_error_percentile",
    "Percentile of the error of each item among those of the model's test set. Without drift it is uniform.",
    ("model", "operation"),
    PERCENTILE_BUCKETS,
)
NOISE_SIGMA: Final = MetricSpec(
    "hourglass_noise_sigma", "Estimated noise of each item, on the 0..1 scale.", ("model", "operation"), NOISE_BUCKETS
)
BATCH_SIZE: Final = MetricSpec(
    "hourglass_batch_size", "Items in one inference run.", ("model", "operation"), BATCH_SIZE_BUCKETS
)
VERSION_DURATION: Final = MetricSpec(
    "hourglass_model_request_duration_seconds",
    "Time of a request to a model from its admission, by version and outcome.",
    (*GraphKey._fields, "outcome"),
    DURATION_BUCKETS,
)
IMAGE_TILES: Final = MetricSpec(
    "hourglass_image_tiles", "Tiles of each image of a model of any size.", ("model", "operation"), TILE_BUCKETS
)
TILES: Final = MetricSpec(
    "hourglass_tiles",
    "Tiles that are done, by outcome: run, failed, or dropped because their request had ended.",
    ("model", "operation", "outcome"),
)
MODEL_LOADS: Final = MetricSpec(
    "hourglass_model_loads",
    "Attempts of a worker to load a version, by result: loaded, rejected (its files are invalid) or failed.",
    ("model", "result"),
)
MODEL_LOAD_DURATION: Final = MetricSpec(
    "hourglass_model_load_duration_seconds",
    "Time that a worker took to read, verify and load a version, or to reject it.",
    ("model",),
    DURATION_BUCKETS,
)
INFLIGHT_ITEMS: Final = MetricSpec("hourglass_inflight_items", "Items admitted and not yet answered.")
INFLIGHT_BYTES: Final = MetricSpec("hourglass_inflight_bytes", "Decoded bytes admitted and not yet answered.")
PENDING_TILES: Final = MetricSpec("hourglass_pending_tiles", "Tiles of admitted images that are not done.")
GAUGES: Final = (INFLIGHT_ITEMS, INFLIGHT_BYTES, PENDING_TILES)
FIGURES: Final = {"error_percentile": ERROR_PERCENTILE, "noise_sigma": NOISE_SIGMA}
EXPORTED: Final = (
    REQUESTS,
    REQUEST_DURATION,
    STAGE_DURATION,
    BATCH_SIZE,
    VERSION_DURATION,
    REJECTIONS,
    ERROR_PERCENTILE,
    NOISE_SIGMA,
    IMAGE_TILES,
    TILES,
    MODEL_LOADS,
    MODEL_LOAD_DURATION,
)
STATISTICS: Final = MetricSpec(
    "statistics", "Count and seconds of a statistic of a graph.", (*GraphKey._fields, "statistic"), width=2
)
LAST_INFERENCE: Final = MetricSpec(
    "last_inference", "Time of the last request of a graph, in ms since 1970.", GraphKey._fields, combine=max
)
FAMILIES: Final = (*EXPORTED, STATISTICS, LAST_INFERENCE)
"""The last two are for the statistics of the Open Inference Protocol. Prometheus gets no series of each batch size."""

REQUEST_STATISTICS: Final = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "items")

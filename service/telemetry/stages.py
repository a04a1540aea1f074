"""The stages of one answered request, as its trace shows them."""

from dataclasses import dataclass

from service.telemetry.timings import Timings
from service.types import GraphKey


@dataclass(frozen=True, slots=True)
class Stages:
    """When the stages of a request began and how long they took, and what ran.

    `started_at`, `decoded_at`, `inferred_at`: on the clock of `perf_counter`. `batch_size`: items of the model run,
    those of other requests included.
    """

    graph: GraphKey
    precision: str
    items: int
    batch_size: int
    started_at: float
    decoded_at: float
    inferred_at: float
    timings: Timings

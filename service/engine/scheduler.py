"""What `Batcher` and `TileScheduler` share: their interface, their results and their hooks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.engine.queue import DEFAULT_OPTIONS, QueueOptions
from service.types import Array, TileOutcome

Run = Callable[..., Array]
"""Runs a graph on a batch (N first) and returns its outputs (N first).

Graphs with controls get a second argument: the values of their controls, float32 (N, controls).
"""


class InferenceError(Exception):
    """The graph failed on these items."""


@dataclass(slots=True, eq=False)
class Batch:
    """Items that ran together and their outputs, both with N first.

    `errors` (float64, N) are the mean squared errors of the items, and `finite` says whether all outputs are finite.
    Both are None until `operations` computes them for the whole batch.
    """

    items: Array
    outputs: Array
    errors: Array | None = None
    finite: bool | None = None


@dataclass(slots=True)
class BatchResult:
    """The outputs of one request (N first), its time in the queue and of its run, and the batch it ran in.

    `offset` is the index of the request's first item in the batch. `noise_map` is the second output of a graph that has
    one, float32 (N, h, w).
    """

    outputs: Array
    queue_seconds: float
    run_seconds: float
    batch: Batch
    offset: int
    noise_map: Array | None = None


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class RunHooks:
    """Callbacks of a scheduler. They may be called in any thread.

    `on_batch` gets the number of items and the seconds of every batch, or 1 and the seconds from the first to the
    last tile for every image that was run in tiles. `on_run` gets the load and the seconds of every run. The load
    is counted in items by `Batcher`, and in bytes of output by `TileScheduler`.
    `TileScheduler` alone calls the others: `release_memory` when it becomes idle after a large tile, and, on the event
    loop, `on_image` with the number of tiles of an image that was queued, and `on_tiles` with the outcome and the
    number of tiles that are done.
    """

    on_batch: Callable[[int, float], None] = _ignore
    on_run: Callable[[int, float], None] = _ignore
    release_memory: Callable[[], None] = _ignore
    on_image: Callable[[int], None] = _ignore
    on_tiles: Callable[[TileOutcome, int], None] = _ignore


class Scheduler(Protocol):
    """Queues the requests for one graph and runs them."""

    running: set[asyncio.Future[Any]]
    """Runs in progress in the pool."""

    completed: int
    """Number of runs completed since the start."""

    def submission_groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """Split the arrays of a request into groups.

        The caller submits one group after another, and the arrays of a group concurrently.
        """
        ...

    async def submit(
        self, items: Array, controls: Array | None = None, options: QueueOptions = DEFAULT_OPTIONS, /
    ) -> BatchResult:
        """Queue items (N first) and return their outputs. Raises InferenceError or QueueTimeout.

        `controls` are the values of the graph's controls, float32 (N, controls): for all requests or for none.
        """
        ...

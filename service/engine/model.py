"""One graph, ready to take callers, and the curve of its batches, measured while nobody waits.

Knows sessions, the card and the batcher; nothing of folders or requests.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from service.card import Card, Graph, Operation
from service.engine.admission import GraphLoad
from service.engine.batcher import Batcher
from service.engine.tile_scheduler import TileScheduler
from service.runtime.hardware import Choice
from service.runtime.session import Session
from service.runtime.tensors import to_array
from service.runtime.tuning import (
    INLINE_BATCH_SECONDS,
    POOL_BATCH_SECONDS,
    choose_batch,
)
from service.types import Array


@dataclass(slots=True, eq=False)
class Runner:
    """One graph, ready to take callers; `choices` says what was chosen for it and why."""

    graph: Graph
    session: Session
    batcher: Batcher | TileScheduler
    choices: dict[str, Choice[str | int]]
    max_batch: int
    load: GraphLoad
    measured: bool = False
    _costs: dict[int, float] = field(default_factory=dict[int, float])

    def measure_next(self) -> None:
        """One step of the curve of batches; after the last one the batcher's limit follows from it. Blocks."""
        size = 2 ** len(self._costs)
        inline = self.choices["executor"].value == "event loop"
        probe_item = self.probe_item()
        try:
            self._costs[size] = seconds = self.session.time_run(np.repeat(probe_item, size, axis=0))
        except Exception as error:  # a graph may hold a size that only the probe's batch fits
            self._set_batch_size(Choice(max(1, size // 2), f"a run of {size} fails: {type(error).__name__}"))
            return
        if 2 * size > self.max_batch or 2 * seconds > (INLINE_BATCH_SECONDS if inline else POOL_BATCH_SECONDS):
            self._set_batch_size(choose_batch(self._costs, self.max_batch))
            self.session.release_memory(probe_item)  # from large batches that may never come

    def _set_batch_size(self, batch: Choice[int]) -> None:
        self.choices["batch"] = batch
        if isinstance(self.batcher, Batcher):
            self.batcher.max_batch = batch.value
        self.measured = True

    def probe_item(self) -> Array:
        """The probe's first item, N,... of 1."""
        return to_array(self.graph.probe.input)[:1]


async def autotune_when_idle(runners: Callable[[], Iterable[Runner]], idle: Callable[[], bool]) -> None:
    """Measure every runner's curve in steps of milliseconds, each while nobody waits, until cancelled."""
    while True:
        unmeasured = [runner for runner in runners() if not runner.measured]
        for runner in unmeasured:
            while not runner.measured and idle():
                await asyncio.to_thread(runner.measure_next)
        await asyncio.sleep(0.1 if unmeasured else 1)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One loaded version of a model."""

    card: Card
    runners: dict[Operation, Runner]

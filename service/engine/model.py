"""One graph, ready to take callers, and the curve of its batches, measured while nobody waits.

Knows sessions, the card and the batcher; nothing of folders or requests.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from service.card import Card, Graph, Operation
from service.engine.admission import Line
from service.engine.batcher import Batcher
from service.engine.tile_scheduler import Tiler
from service.runtime.hardware import Choice
from service.runtime.session import Session
from service.runtime.tensors import to_array
from service.runtime.tuning import (
    LONG_BATCH,
    SHORT_BATCH,
    choose_batch,
)
from service.types import Array


@dataclass(slots=True, eq=False)
class Runner:
    """One graph, ready to take callers; `choices` says what was chosen for it and why."""

    graph: Graph
    session: Session
    batcher: Batcher | Tiler
    choices: dict[str, Choice[str | int]]
    limit: int
    line: Line
    measured: bool = False
    _costs: dict[int, float] = field(default_factory=dict[int, float])

    def measure(self) -> None:
        """One step of the curve of batches; after the last one the batcher's limit follows from it. Blocks."""
        size = 2 ** len(self._costs)
        inline = self.choices["place"].value == "event loop"
        item = self.item()
        try:
            self._costs[size] = seconds = self.session.seconds(np.repeat(item, size, axis=0))
        except Exception as error:  # a graph may hold a size that only the probe's batch fits
            self._settle(Choice(max(1, size // 2), f"a run of {size} fails: {type(error).__name__}"))
            return
        if 2 * size > self.limit or 2 * seconds > (SHORT_BATCH if inline else LONG_BATCH):
            self._settle(choose_batch(self._costs, self.limit))
            self.session.shrink(item)  # from large batches that may never come

    def _settle(self, batch: Choice[int]) -> None:
        self.choices["batch"] = batch
        if isinstance(self.batcher, Batcher):
            self.batcher.max_batch = batch.value
        self.measured = True

    def item(self) -> Array:
        """The probe's first item, N,... of 1."""
        return to_array(self.graph.probe.input)[:1]


async def measure_idly(runners: Callable[[], Iterable[Runner]], idle: Callable[[], bool]) -> None:
    """Measure every runner's curve in steps of milliseconds, each while nobody waits, until cancelled."""
    while True:
        unmeasured = [runner for runner in runners() if not runner.measured]
        for runner in unmeasured:
            while not runner.measured and idle():
                await asyncio.to_thread(runner.measure)
        await asyncio.sleep(0.1 if unmeasured else 1)


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """One loaded version of a model."""

    card: Card
    runners: dict[Operation, Runner]

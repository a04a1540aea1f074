"""Loaded graphs and models, and the measurement of batch sizes while the service is idle."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.card import Card, Graph, Operation
from service.engine.admission import GraphLoad
from service.engine.batcher import Batcher
from service.engine.scheduler import Scheduler
from service.runtime.hardware import Choice
from service.runtime.session import Session
from service.runtime.tensors import to_array
from service.runtime.tuning import (
    INLINE_BATCH_SECONDS,
    POOL_BATCH_SECONDS,
    choose_batch,
)
from service.types import Array, GraphKey


@dataclass(slots=True, eq=False, weakref_slot=True)
class Runner:
    """One loaded graph and its queue.

    `key` identifies the graph in metrics.
    `choices` are the automatic choices and their reasons, for reports only. `max_batch` is the largest batch size to
    measure. `inline` says whether batches run on the event loop. `measured` says whether the batch size is final.
    """

    key: GraphKey
    graph: Graph
    session: Session
    scheduler: Scheduler
    choices: dict[str, Choice[str | int]]
    max_batch: int
    load: GraphLoad
    inline: bool = False
    measured: bool = False
    _costs: dict[int, float] = field(default_factory=dict[int, float])  # seconds of a run by batch size

    def measure_next(self) -> None:
        """Measure the next batch size, and choose the limit of the batcher after the last one. Blocks."""
        size = 2 ** len(self._costs)
        max_seconds = INLINE_BATCH_SECONDS if self.inline else POOL_BATCH_SECONDS
        item = self.probe_item()
        try:
            self._costs[size] = seconds = self.session.time_run(np.repeat(item, size, axis=0))
        except Exception as error:  # the graph may contain a reshape that only supports the batch size of the probe
            self._set_batch_size(Choice(max(1, size // 2), f"a batch of {size} fails: {type(error).__name__}"))
            return
        if 2 * size > self.max_batch or 2 * seconds > max_seconds:
            self._set_batch_size(choose_batch(self._costs, self.max_batch))
            self.session.release_memory(item)  # allocated for large batches, which may never be requested

    def _set_batch_size(self, batch: Choice[int]) -> None:
        self.choices["batch"] = batch
        if isinstance(self.scheduler, Batcher):
            self.scheduler.max_batch = batch.value
        self.measured = True

    def control_values(self, count: int, values: Mapping[str, Sequence[float]]) -> Array | None:
        """Return the values of the graph's controls for `count` items, float32 (count, controls).

        `values` are those of the items by the name of the control; controls without have their default. Return None if
        the graph has no controls.
        """
        if not self.session.controls:
            return None
        table = np.tile(self.session.control_defaults, (count, 1))
        for column, control in enumerate(self.session.controls):
            if control.name in values:
                table[:, column] = values[control.name]
        return table

    def probe_item(self) -> Array:
        """Return the first item of the probe's input, with N = 1."""
        return to_array(self.graph.probe.input)[:1]


async def autotune_when_idle(runners: Callable[[], Iterable[Runner]], idle: Callable[[], bool]) -> None:
    """Measure the batch sizes of all runners, until cancelled. Each step takes milliseconds and starts when idle."""
    while True:
        unfinished = await _tune(runners(), idle)
        await asyncio.sleep(0.1 if unfinished else 1)


async def _tune(runners: Iterable[Runner], idle: Callable[[], bool]) -> bool:
    """Measure the batch sizes of these runners while idle. Return whether there were some without.

    No runner is referenced afterwards, so that the models of those that are unloaded are freed.
    """
    unmeasured = [runner for runner in runners if not runner.measured]
    for runner in unmeasured:
        while not runner.measured and idle():
            await asyncio.to_thread(runner.measure_next)
    return bool(unmeasured)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One version of a model with a runner for each operation."""

    card: Card
    runners: dict[Operation, Runner]

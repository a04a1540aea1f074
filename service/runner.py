"""One graph, ready to take callers, and the curve of its batches, measured while nobody waits.

Knows sessions, the card and the batcher; nothing of folders or requests.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service import runtime
from service.admission import Line
from service.batcher import Batcher
from service.card import Card, Graph, Operation
from service.choices import (
    LONG_BATCH,
    SHORT_BATCH,
    Loading,
    any_size,
    choose_place,
    choose_precision,
    choose_threads,
    choose_tiles,
)
from service.curve import choose_batch
from service.hardware import Choice
from service.runtime import Session
from service.tiler import Tiler
from service.tiling import Grid

Array = NDArray[Any]


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
        return runtime.to_array(self.graph.probe.input)[:1]


def open_runner(folder: Path, card: Card, operation: Operation, loading: Loading) -> Runner:
    """An operation's graph of a card, proven and placed. Raises ModelRefused."""
    precision, graph = choose_precision(loading, [graph for graph in card.graphs if graph.operation == operation])
    tiles = choose_tiles(loading, card, graph) if any_size(card) else None
    threads = tiles.threads if tiles else choose_threads(loading)
    session = runtime.open_graph(folder, card, graph, device=loading.device, threads=threads.value)
    choices: dict[str, Choice[str | int]] = {"device": session.device, "precision": precision, "threads": threads}
    observe = partial(loading.observe, card.name, operation)
    if tiles:
        line = Line(tiles.side_by_side)
        tiler = Tiler(
            session.run,
            grid=Grid(card.receptive_radius or 0, card.stride or 1, tiles.pixels.value, tiles.side_by_side),
            pool=loading.pool,
            runners=tiles.side_by_side,
            observe=observe,
            ran=line.ran,
            tidy=partial(session.shrink, runtime.to_array(graph.probe.input)),
        )
        return Runner(graph, session, tiler, {**choices, "tile": tiles.pixels}, 1, line, measured=True)
    place, batch = choose_place(session, graph, loading.max_batch)
    inline = place.value == "event loop"
    runners = 1 if inline else max(1, loading.cores // threads.value)
    line = Line(runners)
    pool = None if inline else loading.pool
    batcher = Batcher(session.run, max_batch=batch.value, pool=pool, runners=runners, observe=observe, ran=line.ran)
    return Runner(graph, session, batcher, {**choices, "place": place, "batch": batch}, loading.max_batch, line)


async def measure_idly(runners: Callable[[], Iterable[Runner]], idle: Callable[[], bool]) -> None:
    """Measure every runner's curve in steps of milliseconds, each while nobody waits, until cancelled."""
    while True:
        unmeasured = [runner for runner in runners() if not runner.measured]
        for runner in unmeasured:
            while not runner.measured and idle():
                await asyncio.to_thread(runner.measure)
        await asyncio.sleep(0.1 if unmeasured else 1)

"""One graph, ready to take callers: its threads, where its batches run and how large they get, each with its reason.

Knows sessions, the card and the batcher; nothing of folders or requests.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service import runtime
from service.batcher import Batcher
from service.card import Card, Graph, ImageInput, Operation, Precision
from service.curve import choose_batch
from service.hardware import Choice, fast_int8
from service.runtime import Device, Session, choose_device
from service.tiler import Tiler
from service.tiling import Grid

Array = NDArray[Any]

SHORT_RUN = 0.001  # seconds of one item's run that the event loop may be held up by
SHORT_BATCH = 0.008  # seconds of a batch there
LONG_BATCH = 0.05  # seconds of a batch in the pool; a lone caller may have to wait for one
WIDE = 4  # threads beyond which one run of a small net gains little


@dataclass(frozen=True, slots=True)
class Loading:
    """How graphs are loaded: device, threads of a run (0: chosen), most items of a batch, processors, pool; precision
    of graphs that come in several; pixels of a tile.
    """

    device: Device
    threads: int
    max_batch: int
    pool: Executor
    cores: int
    observe: Callable[[str, Operation, int], None] = lambda *_: None
    precision: Precision | Literal["auto"] = "auto"
    tile_pixels: int = 1 << 20


@dataclass(slots=True)
class Runner:
    """One graph, ready to take callers; `choices` says what was chosen for it and why."""

    graph: Graph
    session: Session
    batcher: Batcher | Tiler
    choices: dict[str, Choice[str | int]]
    limit: int
    measured: bool = False
    _costs: dict[int, float] = field(default_factory=dict[int, float])

    def measure(self) -> None:
        """One step of the curve of batches; after the last one the batcher's limit follows from it. Blocks."""
        size = 2 ** len(self._costs)
        inline = self.choices["place"].value == "event loop"
        item = self._item()
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

    def _item(self) -> Array:
        return runtime.to_array(self.graph.probe.input)[:1]


def open_runner(folder: Path, card: Card, operation: Operation, loading: Loading) -> Runner:
    """An operation's graph of a card, proven and placed. Raises ModelRefused."""
    precision, graph = choose_precision(loading, [graph for graph in card.graphs if graph.operation == operation])
    threads = choose_threads(loading, card)
    session = runtime.open_graph(folder, card, graph, device=loading.device, threads=threads.value)
    choices: dict[str, Choice[str | int]] = {"device": session.device, "precision": precision, "threads": threads}
    observe = partial(loading.observe, card.name, operation)
    side_by_side = max(1, loading.cores // threads.value)
    if any_size(card):
        tile = Choice(loading.tile_pixels, f"the setting, in pixels; {side_by_side} at once")
        tiler = Tiler(
            session.run,
            grid=grid(card, loading),
            pool=loading.pool,
            runners=side_by_side,
            observe=observe,
            tidy=partial(session.shrink, runtime.to_array(graph.probe.input)),
        )
        return Runner(graph, session, tiler, {**choices, "tile": tile}, 1, measured=True)
    place, batch = choose_place(session, graph, loading.max_batch)
    inline = place.value == "event loop"
    batcher = Batcher(
        session.run,
        max_batch=batch.value,
        pool=None if inline else loading.pool,
        runners=1 if inline else side_by_side,
        observe=observe,
    )
    return Runner(graph, session, batcher, {**choices, "place": place, "batch": batch}, loading.max_batch)


async def measure_idly(runners: Callable[[], Iterable[Runner]], idle: Callable[[], bool]) -> None:
    """Measure every runner's curve in steps of milliseconds, each while nobody waits, until cancelled."""
    while True:
        unmeasured = [runner for runner in runners() if not runner.measured]
        for runner in unmeasured:
            while not runner.measured and idle():
                await asyncio.to_thread(runner.measure)
        await asyncio.sleep(0.1 if unmeasured else 1)


def any_size(card: Card) -> bool:
    """Whether the model takes pictures of any size."""
    return isinstance(card.input, ImageInput) and card.input.height is None


def grid(card: Card, loading: Loading) -> Grid:
    """How the pictures of a model for any size are cut."""
    return Grid(card.receptive_radius or 0, card.stride or 1, loading.tile_pixels)


def choose_precision(loading: Loading, graphs: Sequence[Graph]) -> tuple[Choice[Precision], Graph]:
    """Which of an operation's graphs is run, and why: int8 where it is there and the processor is made for it."""
    found: dict[Precision, Graph] = {graph.precision: graph for graph in graphs}
    if len(found) == 1:
        (only,) = graphs
        return Choice(only.precision, "the only one that the model has"), only
    fast = fast_int8()
    chosen: Choice[Precision]
    if loading.precision != "auto":
        chosen = Choice(loading.precision, "asked for")
    elif loading.device != "cpu" and choose_device(loading.device).value == "cuda":
        chosen = Choice("float32", "a graphics processor")
    else:
        chosen = Choice("int8" if fast.value else "float32", fast.reason)
    return chosen, found[chosen.value]


def choose_threads(loading: Loading, card: Card) -> Choice[int]:
    """Threads of one run: one for small fixed inputs, whose batches run side by side; several for large pictures."""
    if loading.threads:
        return Choice(loading.threads, "asked for")
    if any_size(card):
        found = min(WIDE, loading.cores)
        return Choice(found, f"pictures of any size; {loading.cores} processors, {WIDE} threads at most for one run")
    return Choice(1, "small inputs: batches run side by side instead")


def choose_place(session: Session, graph: Graph, limit: int) -> tuple[Choice[str], Choice[int]]:
    """Where batches run: on the event loop if one item is measured to be short, else in the pool.

    And the items of a batch until its curve is measured: as many as would be short if nothing were gained by them.
    """
    seconds = session.seconds(runtime.to_array(graph.probe.input)[:1])
    inline = seconds <= SHORT_RUN
    reason = f"one item takes {seconds * 1e3:.3f} ms, the bound is {SHORT_RUN * 1e3:g}"
    items = int((SHORT_BATCH if inline else LONG_BATCH) / seconds)
    batch = Choice(max(1, min(limit, items)), "not measured yet; as many as are short even if batching gains nothing")
    return Choice("event loop" if inline else "pool", reason), batch

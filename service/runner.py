"""One graph, ready to take callers: its threads, where its batches run and how large they get, each with its reason.

Knows sessions, the card and the batcher; nothing of folders or requests.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service import runtime
from service.batcher import Batcher
from service.card import Card, Graph, ImageInput, Operation
from service.hardware import Choice
from service.runtime import Device, Session

Array = NDArray[Any]

SHORT_RUN = 0.001  # seconds of one item's run that the event loop may be held up by
SHORT_BATCH = 0.008  # seconds of a batch there
LONG_BATCH = 0.05  # seconds of a batch in the pool; a lone caller may have to wait for one
FIXED_SHARE = 0.05  # a batch is large enough where what a run costs whatever its items is this share of it
WIDE = 4  # threads beyond which one run of a small net gains little


@dataclass(frozen=True, slots=True)
class Loading:
    """How graphs are loaded: device, threads of a run (0: chosen), most items of a batch, processors, pool."""

    device: Device
    threads: int
    max_batch: int
    pool: Executor
    cores: int
    observe: Callable[[str, Operation, int], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run costs: seconds = fixed + item * items."""

    fixed: float
    item: float

    @classmethod
    def of(cls, sizes: Sequence[int], seconds: Sequence[float]) -> "Curve":
        """Least squares of the relative errors, so that small batches weigh as much as large ones."""
        weights = 1 / np.asarray(seconds)
        columns = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) * weights[:, np.newaxis]
        fixed, item = np.linalg.lstsq(columns, np.ones(len(sizes)))[0]
        return cls(max(0.0, float(fixed)), max(1e-9, float(item)))


@dataclass(slots=True)
class Runner:
    """One graph, ready to take callers; `choices` says what was chosen for it and why."""

    graph: Graph
    session: Session
    batcher: Batcher
    choices: dict[str, Choice[str | int]]
    limit: int
    measured: bool = False
    _costs: dict[int, float] = field(default_factory=dict[int, float])

    def measure(self) -> None:
        """One step of the curve of batches; after the last one the batcher's limit follows from it. Blocks."""
        size = 2 ** len(self._costs)
        inline = self.choices["place"].value == "event loop"
        item = runtime.to_array(self.graph.probe.input)[:1]
        try:
            self._costs[size] = seconds = self.session.seconds(np.repeat(item, size, axis=0))
        except Exception as error:  # a graph may hold a size that only the probe's batch fits
            self._settle(Choice(max(1, size // 2), f"a run of {size} fails: {type(error).__name__}"))
            return
        if 2 * size > self.limit or 2 * seconds > (SHORT_BATCH if inline else LONG_BATCH):
            self._settle(choose_batch(self._costs, self.limit))

    def _settle(self, batch: Choice[int]) -> None:
        self.choices["batch"] = batch
        self.batcher.max_batch = batch.value
        self.measured = True


def open_runner(folder: Path, card: Card, graph: Graph, loading: Loading) -> Runner:
    """The graph of a card, proven and placed. Raises ModelRefused."""
    threads = choose_threads(loading, card)
    session = runtime.open_graph(folder, card, graph, device=loading.device, threads=threads.value)
    place, batch = choose_place(session, card, graph, loading.max_batch)
    inline = place.value == "event loop"
    batcher = Batcher(
        session.run,
        max_batch=batch.value,
        pool=None if inline else loading.pool,
        runners=1 if inline else max(1, loading.cores // threads.value),
        observe=lambda items: loading.observe(card.name, graph.operation, items),
    )
    choices: dict[str, Choice[str | int]] = {
        "device": session.device,
        "threads": threads,
        "place": place,
        "batch": batch,
    }
    return Runner(graph, session, batcher, choices, loading.max_batch, measured=any_size(card))


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


def choose_threads(loading: Loading, card: Card) -> Choice[int]:
    """Threads of one run: one for small fixed inputs, whose batches run side by side; several for large pictures."""
    if loading.threads:
        return Choice(loading.threads, "asked for")
    if any_size(card):
        found = min(WIDE, loading.cores)
        return Choice(found, f"pictures of any size; {loading.cores} processors, {WIDE} threads at most for one run")
    return Choice(1, "small inputs: batches run side by side instead")


def choose_place(session: Session, card: Card, graph: Graph, limit: int) -> tuple[Choice[str], Choice[int]]:
    """Where batches run: on the event loop if one item is measured to be short, else in the pool.

    And the items of a batch until its curve is measured: as many as would be short if nothing were gained by them.
    """
    if any_size(card):
        return Choice("pool", "pictures of any size"), Choice(1, "pictures of any size: a run fills the processors")
    seconds = session.seconds(runtime.to_array(graph.probe.input)[:1])
    inline = seconds <= SHORT_RUN
    reason = f"one item takes {seconds * 1e3:.3f} ms, the bound is {SHORT_RUN * 1e3:g}"
    items = int((SHORT_BATCH if inline else LONG_BATCH) / seconds)
    batch = Choice(max(1, min(limit, items)), "not measured yet; as many as are short even if batching gains nothing")
    return Choice("event loop" if inline else "pool", reason), batch


def choose_batch(costs: dict[int, float], limit: int) -> Choice[int]:
    """Items of a batch from measured seconds by size: where larger ones gain no more, or the largest measured."""
    sizes, seconds = list(costs), list(costs.values())
    curve = Curve.of(sizes, seconds) if len(sizes) > 1 else Curve(0.0, seconds[0])
    enough = next((size for size in sizes if curve.fixed <= FIXED_SHARE * curve.item * size), None)
    told = f"a run costs {curve.fixed * 1e3:.3g} ms and {curve.item * 1e3:.3g} ms an item, measured up to {sizes[-1]}"
    if enough:
        return Choice(enough, f"{told}; larger ones would gain less than {FIXED_SHARE:.0%}")
    bound = "the setting" if 2 * sizes[-1] > limit else "what a lone caller may wait"
    return Choice(sizes[-1], f"{told}; {bound} allows no more")

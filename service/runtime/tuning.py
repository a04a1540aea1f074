"""What is chosen for a graph, each with its reason: precision, threads, tiles, where batches run and how large.

Knows the card, sessions and this machine; nothing of who waits.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.card import Card, Graph, Operation, Precision
from service.runtime.hardware import Choice, fast_int8
from service.runtime.session import Device, Session, choose_device
from service.runtime.tensors import to_array

SHORT_RUN = 0.001  # seconds of one item's run that the event loop may be held up by
SHORT_BATCH = 0.008  # seconds of a batch there
LONG_BATCH = 0.05  # seconds of a batch in the pool; a lone caller may have to wait for one
WIDE = 4  # threads beyond which one run of a small net gains little
UNSTATED = 400.0  # bytes a pixel of a graph whose card does not say what it takes
SIDE = 15  # receptive radii along a square tile that overlaps its neighbours by a fifth; smaller ones waste more


@dataclass(frozen=True, slots=True)
class Loading:
    """How graphs are loaded: device, threads of a run (0: chosen), most items of a batch, processors, pool; precision
    of graphs that come in several; bytes that the tiles of one graph may take together.
    """

    device: Device
    threads: int
    max_batch: int
    pool: Executor
    cores: int
    observe: Callable[[str, Operation, int], None] = lambda *_: None
    precision: Precision | Literal["auto"] = "auto"
    tile_memory: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Tiles:
    """How large pictures are run: threads of a run, runs side by side and pixels of each."""

    threads: Choice[int]
    side_by_side: int
    pixels: Choice[int]


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


def choose_threads(loading: Loading) -> Choice[int]:
    """Threads of one run of small fixed inputs."""
    if loading.threads:
        return Choice(loading.threads, "asked for")
    return Choice(1, "small inputs: batches run side by side instead")


def choose_tiles(loading: Loading, card: Card, graph: Graph) -> Tiles:
    """As many tiles side by side as the memory holds of a size that overlaps little; they share the processors.

    Runs of one thread wait for nothing: side by side they were 4 to 12 % faster than one run on two processors.
    """
    cores, each = loading.cores, graph.bytes_per_pixel or UNSTATED
    room = loading.tile_memory / each
    fair = max(1, (SIDE * (card.receptive_radius or 0)) ** 2)
    threads = Choice(loading.threads, "asked for")
    if not loading.threads:
        side_by_side = max(1, min(cores, int(room / fair)))
        threads = Choice(
            min(WIDE, cores // side_by_side),
            f"{cores} processors; memory for {room / 1e6:.1f} MP, and tiles below {fair / 1e6:.1f} MP overlap too much",
        )
    side_by_side = max(1, cores // threads.value)
    pixels = Choice(
        int(room / side_by_side), f"{loading.tile_memory >> 20} MiB at {each:.0f} bytes; {side_by_side} at once"
    )
    return Tiles(threads, side_by_side, pixels)


def choose_place(session: Session, graph: Graph, limit: int) -> tuple[Choice[str], Choice[int]]:
    """Where batches run: on the event loop if one item is measured to be short, else in the pool.

    And the items of a batch until its curve is measured: as many as would be short if nothing were gained by them.
    """
    seconds = session.seconds(to_array(graph.probe.input)[:1])
    inline = seconds <= SHORT_RUN
    reason = f"one item takes {seconds * 1e3:.3f} ms, the bound is {SHORT_RUN * 1e3:g}"
    items = int((SHORT_BATCH if inline else LONG_BATCH) / seconds)
    batch = Choice(max(1, min(limit, items)), "not measured yet; as many as are short even if batching gains nothing")
    return Choice("event loop" if inline else "pool", reason), batch


FIXED_SHARE = 0.05  # a batch is large enough where what a run costs whatever its items is this share of it


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

"""What is chosen for a graph, each with its reason: precision, threads, tiles, where batches run and how large.

Knows the card, sessions and this machine; nothing of who waits.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.card import Card, Graph, Operation, Precision
from service.runtime.hardware import Choice, has_int8_instructions
from service.runtime.session import Device, Session, choose_device
from service.runtime.tensors import to_array

INLINE_ITEM_SECONDS = 0.001  # seconds of one item's run that the event loop may be held up by
INLINE_BATCH_SECONDS = 0.008  # seconds of a batch there
POOL_BATCH_SECONDS = 0.05  # seconds of a batch in the pool; a lone caller may have to wait for one
MAX_INTRA_OP_THREADS = 4  # threads beyond which one run of a small net gains little
DEFAULT_BYTES_PER_PIXEL = 400.0  # bytes a pixel of a graph whose card does not say what it takes
MIN_TILE_RADII = (
    15  # receptive radii along a square tile that overlaps its neighbours by a fifth; smaller ones waste more
)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How graphs are loaded: device, threads of a run (0: chosen), most items of a batch, processors, pool; precision
    of graphs that come in several; bytes that the tiles of one graph may take together.
    """

    device: Device
    intra_op_threads: int
    max_batch_size: int
    pool: Executor
    cores: int
    on_batch: Callable[[str, Operation, int], None] = lambda *_: None
    precision: Precision | Literal["auto"] = "auto"
    tile_memory_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How large pictures are run: threads of a run, runs side by side and pixels of each."""

    threads: Choice[int]
    concurrency: int
    pixels: Choice[int]


def choose_precision(loading: LoadOptions, graphs: Sequence[Graph]) -> tuple[Choice[Precision], Graph]:
    """Which of an operation's graphs is run, and why: int8 where it is there and the processor is made for it."""
    found: dict[Precision, Graph] = {graph.precision: graph for graph in graphs}
    if len(found) == 1:
        (only,) = graphs
        return Choice(only.precision, "the only one that the model has"), only
    fast = has_int8_instructions()
    chosen: Choice[Precision]
    if loading.precision != "auto":
        chosen = Choice(loading.precision, "asked for")
    elif loading.device != "cpu" and choose_device(loading.device).value == "cuda":
        chosen = Choice("float32", "a graphics processor")
    else:
        chosen = Choice("int8" if fast.value else "float32", fast.reason)
    return chosen, found[chosen.value]


def choose_threads(loading: LoadOptions) -> Choice[int]:
    """Threads of one run of small fixed inputs."""
    if loading.intra_op_threads:
        return Choice(loading.intra_op_threads, "asked for")
    return Choice(1, "small inputs: batches run side by side instead")


def choose_tiles(loading: LoadOptions, card: Card, graph: Graph) -> TilePlan:
    """As many tiles side by side as the memory holds of a size that overlaps little; they share the processors.

    Runs of one thread wait for nothing: side by side they were 4 to 12 % faster than one run on two processors.
    """
    cores, each = loading.cores, graph.bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL
    room = loading.tile_memory_bytes / each
    fair = max(1, (MIN_TILE_RADII * (card.receptive_radius or 0)) ** 2)
    threads = Choice(loading.intra_op_threads, "asked for")
    if not loading.intra_op_threads:
        concurrency = max(1, min(cores, int(room / fair)))
        threads = Choice(
            min(MAX_INTRA_OP_THREADS, cores // concurrency),
            f"{cores} processors; memory for {room / 1e6:.1f} MP, and tiles below {fair / 1e6:.1f} MP overlap too much",
        )
    concurrency = max(1, cores // threads.value)
    pixels = Choice(
        int(room / concurrency), f"{loading.tile_memory_bytes >> 20} MiB at {each:.0f} bytes; {concurrency} at once"
    )
    return TilePlan(threads, concurrency, pixels)


def choose_executor(session: Session, graph: Graph, limit: int) -> tuple[Choice[str], Choice[int]]:
    """Where batches run: on the event loop if one item is measured to be short, else in the pool.

    And the items of a batch until its curve is measured: as many as would be short if nothing were gained by them.
    """
    seconds = session.time_run(to_array(graph.probe.input)[:1])
    inline = seconds <= INLINE_ITEM_SECONDS
    reason = f"one item takes {seconds * 1e3:.3f} ms, the bound is {INLINE_ITEM_SECONDS * 1e3:g}"
    items = int((INLINE_BATCH_SECONDS if inline else POOL_BATCH_SECONDS) / seconds)
    batch = Choice(max(1, min(limit, items)), "not measured yet; as many as are short even if batching gains nothing")
    return Choice("event loop" if inline else "pool", reason), batch


MAX_OVERHEAD_SHARE = 0.05  # a batch is large enough where what a run costs whatever its items is this share of it


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What a run costs: seconds = fixed + item * items."""

    overhead: float
    per_item: float

    @classmethod
    def fit(cls, sizes: Sequence[int], seconds: Sequence[float]) -> "BatchCost":
        """Least squares of the relative errors, so that small batches weigh as much as large ones."""
        weights = 1 / np.asarray(seconds)
        columns = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) * weights[:, np.newaxis]
        fixed, item = np.linalg.lstsq(columns, np.ones(len(sizes)))[0]
        return cls(max(0.0, float(fixed)), max(1e-9, float(item)))


def choose_batch(costs: dict[int, float], limit: int) -> Choice[int]:
    """Items of a batch from measured seconds by size: where larger ones gain no more, or the largest measured."""
    sizes, seconds = list(costs), list(costs.values())
    curve = BatchCost.fit(sizes, seconds) if len(sizes) > 1 else BatchCost(0.0, seconds[0])
    enough = next((size for size in sizes if curve.overhead <= MAX_OVERHEAD_SHARE * curve.per_item * size), None)
    told = (
        f"a run costs {curve.overhead * 1e3:.3g} ms and {curve.per_item * 1e3:.3g} ms an item, "
        f"measured up to {sizes[-1]}"
    )
    if enough:
        return Choice(enough, f"{told}; larger ones would gain less than {MAX_OVERHEAD_SHARE:.0%}")
    bound = "the setting" if 2 * sizes[-1] > limit else "what a lone caller may wait"
    return Choice(sizes[-1], f"{told}; {bound} allows no more")

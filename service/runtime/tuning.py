"""Chooses the options of a graph, each with its reason: precision, threads, tiles, executor and batch size."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np

from service.card import Card, Graph, Precision
from service.errors import ModelRejected
from service.runtime.hardware import Choice
from service.runtime.providers import Device
from service.runtime.session import Session, runs_on_cpu
from service.runtime.tensors import to_array
from service.types import Array, GraphKey, TileOutcome

INLINE_ITEM_SECONDS = 0.001  # run graphs on the event loop if one item takes at most this time
INLINE_BATCH_SECONDS = 0.008  # time of a batch on the event loop, which it blocks
POOL_BATCH_SECONDS = 0.05  # time of a batch in the pool; a single request may have to wait for one
MAX_OVERHEAD_SHARE = 0.05  # enlarge batches until the overhead of a run is at most this share of the time of its items
MIN_SPEEDUP = 1.2  # of a precision over a more accurate one; a smaller gain is not worth the loss
TIMING_SIDE = 128  # pixels of the square images that precisions are timed on
MAX_INTRA_OP_THREADS = 4  # more threads make one run of a small net hardly faster
DEFAULT_BYTES_PER_PIXEL = 400.0  # memory of a run, for graphs whose card does not state it
TILE_RADII = 21  # side of a square tile in receptive radii; with twice its pixels, 12 MP would be 6 % less work
QUEUED_TILE_RADII = 15  # the same where images are queued: runs side by side then save more than the overlap costs
TILE_PIXELS = 1 << 20  # the same for graphs of small radii: smaller tiles would save little memory


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load graphs.

    `intra_op_threads` is the number of threads per run, or 0 to choose it. `max_batch_size` is in items. `cores` is
    the number of CPU cores to use. `on_batch` gets the graph, the items and the seconds of every batch, `on_image`
    the graph and the tiles of every queued image, and `on_tiles` the graph, the outcome and the number of tiles that
    are done. `precision` applies to operations that have graphs of several precisions. `tile_memory_bytes` limits the
    memory of all tiles of one graph that run at once. With `many_images`, more images are queued than there are cores,
    and how long each of them takes does not matter. Links to files of models may end inside `link_dirs`. If there are
    `trusted_keys`, ed25519 public keys of 32 bytes, one of them must have signed the card.
    """

    device: Device
    intra_op_threads: int
    max_batch_size: int
    pool: Executor
    cores: int
    on_batch: Callable[[GraphKey, int, float], None] = lambda *_: None
    on_image: Callable[[GraphKey, int], None] = lambda *_: None
    on_tiles: Callable[[GraphKey, TileOutcome, int], None] = lambda *_: None
    precision: Precision | Literal["auto"] = "auto"
    tile_memory_bytes: int = 256 << 20
    many_images: bool = False
    link_dirs: tuple[Path, ...] = ()
    trusted_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How to run images of any size: threads per run, runs at once, and the largest tile in pixels."""

    threads: Choice[int]
    concurrency: int
    pixels: Choice[int]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How to run batches: whether on the event loop, the name of the executor, and the items of a batch."""

    inline: bool
    executor: Choice[str]
    batch: Choice[int]


@dataclass(frozen=True, slots=True)
class Trial:
    """The seconds of a run of a graph in one precision, or the reason why it cannot be used."""

    graph: Graph
    seconds: float = inf
    problem: str = ""

    @property
    def name(self) -> str:
        """The precision, with the bits of the weights if they are not 8."""
        return precision_name(self.graph)

    def __str__(self) -> str:
        return self.problem or f"{self.name} takes {self.seconds * 1e3:.3g} ms"


def precision_name(graph: Graph) -> str:
    """Return `float32`, `int8`, or `int8-7bit` for weights of 7 bits."""
    return graph.precision if graph.weight_bits == 8 else f"{graph.precision}-{graph.weight_bits}bit"


def precision_candidates(options: LoadOptions, graphs: Sequence[Graph]) -> Choice[list[Graph]]:
    """Return the graphs of an operation that its precision is chosen from, in the order of their accuracy."""
    ordered = sorted(graphs, key=lambda graph: (graph.precision != "float32", -graph.weight_bits))
    if len(graphs) == 1:
        return Choice(ordered, "the model has no other precision")
    wanted, reason = options.precision, "set by configuration"
    if wanted == "auto" and not runs_on_cpu(options.device):
        wanted, reason = "float32", f"the device is {options.device.name}, not the CPU"
    if wanted == "auto":
        return Choice(ordered, "measured on this processor")
    return Choice([graph for graph in ordered if graph.precision == wanted] or ordered[:1], reason)


def choose_precision(trials: Sequence[Trial], reason: str) -> Choice[Trial]:
    """Choose the first graph, or a later and less accurate one if a run takes at most 1 / `MIN_SPEEDUP` of its time.

    `reason` is that of the candidates. Raises ModelRejected if none can be used.
    """
    usable = [trial for trial in trials if not trial.problem]
    if not usable:
        raise ModelRejected("; ".join(trial.problem for trial in trials))
    best = usable[0]
    for trial in usable[1:]:
        if trial.seconds * MIN_SPEEDUP <= best.seconds:
            best = trial
    if len(trials) == 1:
        return Choice(best, reason)
    return Choice(
        best, f"{reason}: {', '.join(map(str, trials))}; less accurate ones must be {MIN_SPEEDUP:g} x as fast"
    )


def timing_batch(graph: Graph, *, any_size: bool) -> Array:
    """Return the first item of the probe's input, images of any size repeated to `TIMING_SIDE` pixels a side."""
    item = to_array(graph.probe.input)[:1]
    if not any_size:
        return item
    repeats = [-(-TIMING_SIDE // side) for side in item.shape[1:3]]
    return np.ascontiguousarray(np.tile(item, (1, *repeats, 1))[:, :TIMING_SIDE, :TIMING_SIDE])


def choose_threads(options: LoadOptions) -> Choice[int]:
    """Choose the threads of one run, for inputs of fixed size."""
    if options.intra_op_threads:
        return Choice(options.intra_op_threads, "set by configuration")
    return Choice(1, "inputs are small: several batches run at once instead")


def choose_tiles(options: LoadOptions, card: Card, graph: Graph) -> TilePlan:
    """Choose as many tiles at once as fit into memory at a size with little overlap. They share the cores.

    Runs with one thread need no synchronisation: two of them were 3 to 12 % faster than one run with two threads. But
    with the same memory their tiles are half as large.
    """
    cores = options.cores
    bytes_per_pixel = graph.bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL
    total_pixels = options.tile_memory_bytes / bytes_per_pixel
    radius = card.receptive_radius
    radii = QUEUED_TILE_RADII if options.many_images else TILE_RADII
    side_by_side = total_pixels if radius is None else max(1, (radii * radius) ** 2)
    if options.intra_op_threads:
        threads = Choice(options.intra_op_threads, "set by configuration")
    else:
        tile_count = max(1, min(cores, int(total_pixels / side_by_side)))
        threads = Choice(
            min(MAX_INTRA_OP_THREADS, cores // tile_count),
            f"{cores} cores, and memory for {total_pixels / 1e6:.1f} MP; "
            + (
                "images are not tiled"
                if radius is None
                else f"tiles below {side_by_side / 1e6:.1f} MP would overlap too much"
            ),
        )
    concurrency = max(1, cores // threads.value)
    pixels = int(total_pixels / concurrency)
    memory = options.tile_memory_bytes >> 20
    reason = f"{memory} MiB at {bytes_per_pixel:.0f} bytes per pixel, for {concurrency} at once"
    if radius is not None and pixels > (largest := max(TILE_PIXELS, (TILE_RADII * radius) ** 2)):
        pixels, reason = largest, f"memory for {pixels / 1e6:.1f} MP, but larger tiles would save little work"
    return TilePlan(threads, concurrency, Choice(pixels, reason))


def choose_executor(session: Session, graph: Graph, max_batch: int) -> BatchPlan:
    """Choose whether batches run on the event loop or in the pool, by the measured time of one item.

    The batch size is preliminary until `choose_batch`: it assumes that the time is proportional to the number of items.
    """
    seconds = session.time_run(to_array(graph.probe.input)[:1])
    inline = seconds <= INLINE_ITEM_SECONDS
    reason = f"one item takes {seconds * 1e3:.3f} ms, the limit is {INLINE_ITEM_SECONDS * 1e3:g} ms"
    items = int((INLINE_BATCH_SECONDS if inline else POOL_BATCH_SECONDS) / seconds)
    return BatchPlan(
        inline,
        executor=Choice("event loop" if inline else "pool", reason),
        batch=Choice(max(1, min(max_batch, items)), "not measured yet; estimated from the time of one item"),
    )


@dataclass(frozen=True, slots=True)
class BatchCost:
    """Model of the seconds of a run: `overhead` + `per_item` * items."""

    overhead: float
    per_item: float

    @classmethod
    def fit(cls, sizes: Sequence[int], seconds: Sequence[float]) -> "BatchCost":
        """Fit measured seconds by batch size, by least squares of the relative errors.

        With relative errors, small batches have the same weight as large ones.
        """
        if len(sizes) == 1:
            return cls(0.0, seconds[0])
        weights = 1 / np.asarray(seconds)
        columns = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) * weights[:, np.newaxis]
        overhead, per_item = np.linalg.lstsq(columns, np.ones(len(sizes)))[0]
        return cls(max(0.0, float(overhead)), max(1e-9, float(per_item)))


def choose_batch(costs: dict[int, float], limit: int) -> Choice[int]:
    """Choose the items of a batch from measured seconds by batch size.

    It is the smallest size with little overhead per item, or else the largest measured size. `limit` is the setting.
    """
    sizes = list(costs)
    cost = BatchCost.fit(sizes, list(costs.values()))
    measured = (
        f"a run takes {cost.overhead * 1e3:.3g} ms and {cost.per_item * 1e3:.3g} ms per item, "
        f"measured up to {sizes[-1]} items"
    )
    for size in sizes:
        if cost.overhead <= MAX_OVERHEAD_SHARE * cost.per_item * size:
            return Choice(size, f"{measured}; larger batches would gain less than {MAX_OVERHEAD_SHARE:.0%}")
    bound = "the setting" if 2 * sizes[-1] > limit else "the waiting time of a single request"
    return Choice(sizes[-1], f"{measured}; {bound} does not allow more")

"""models/ -> named autoencoders: found, proven, swapped in whole, dropped when gone.

A version that cannot be proven is refused with its reason and what served before goes on. Knows the runtime and the
batcher, nothing of requests. Only `get` may be called from the event loop; `refresh` blocks and runs on one thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service import runtime
from service.batcher import Batcher
from service.card import Card, Graph, ImageInput, Operation
from service.errors import AmbiguousModel, ModelNotFound, ModelRefused
from service.folder import Fingerprint, load_card, scan
from service.hardware import Choice, cores
from service.runtime import Device

INLINE_SECONDS = 0.005  # a full batch of a graph that runs on the event loop takes at most this

Version = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Runner:
    """One graph, ready to take callers; `choices` says what was chosen for it and why."""

    graph: Graph
    batcher: Batcher
    choices: dict[str, Choice[str | int]]


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """One loaded version of a model."""

    card: Card
    runners: dict[Operation, Runner]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Loading:
    """How graphs are loaded: device, threads of a run (0: chosen), items of a batch, pool for long runs."""

    device: Device
    threads: int
    max_batch: int
    pool: Executor
    runners: int
    observe: Callable[[str, Operation, int], None] = lambda *_: None


@dataclass(slots=True)
class Shelf:
    """What is on disk and in memory at one moment; replaced whole, never changed, so readers need no lock."""

    loaded: dict[str, Autoencoder] = field(default_factory=dict[str, Autoencoder])
    versions: dict[str, dict[int, Fingerprint]] = field(default_factory=dict[str, dict[int, Fingerprint]])
    refused: dict[Version, tuple[Fingerprint, str]] = field(default_factory=dict[Version, tuple[Fingerprint, str]])


class Store:
    """The models of a folder. Raises DeviceUnavailable from `refresh` where the settings insist on a device."""

    def __init__(self, folder: Path, loading: Loading, *, old_versions: int) -> None:
        self.folder, self.loading = folder, loading
        self.shelf = Shelf()
        self._old: OrderedDict[Version, Autoencoder] = OrderedDict()
        self._old_versions = old_versions
        self._loader = ThreadPoolExecutor(1, "loader")  # sessions are made one at a time, off the pool of requests

    def refresh(self) -> bool:
        """Bring memory in line with the folder; whether anything changed."""
        before = self.shelf
        versions = scan(self.folder)
        after = Shelf(versions=versions)
        after.refused = {key: why for key, why in before.refused.items() if versions.get(key[0], {}).get(key[1])}
        for name, found in versions.items():
            best = self._best(name, found, before.loaded.get(name), after.refused)
            if best is not None:
                after.loaded[name] = best
        self.shelf = after
        return after != before

    def _best(
        self,
        name: str,
        found: dict[int, Fingerprint],
        current: Autoencoder | None,
        refused: dict[Version, tuple[Fingerprint, str]],
    ) -> Autoencoder | None:
        """The highest good version; what serves now, while nothing better is good."""
        for version in sorted(found, reverse=True):
            if current and current.card.version == version and current.fingerprint == found[version]:
                return current
            if refused.get((name, version), ((), ""))[0] == found[version]:
                continue
            try:
                best = self._load(name, version, found[version])
            except ModelRefused as problem:
                refused[name, version] = (found[version], problem.detail)
            else:
                refused.pop((name, version), None)
                return best
        return current

    def _load(self, name: str, version: int, fingerprint: Fingerprint) -> Autoencoder:
        folder = self.folder / name / str(version)
        card = load_card(folder)
        if (card.name, card.version) != (name, version):
            raise ModelRefused(f"the card is of {card.name} {card.version}, not of {name} {version}")
        runners: dict[Operation, Runner] = {
            graph.operation: self._runner(folder, card, graph)
            for graph in card.graphs
            if graph.precision == "float32"  # choosing int8 waits for its first model
        }
        return Autoencoder(card, runners, fingerprint)

    def _runner(self, folder: Path, card: Card, graph: Graph) -> Runner:
        loading = self.loading
        threads = choose_threads(loading.threads, card)
        session = runtime.open_graph(folder, card, graph, device=loading.device, threads=threads.value)
        place = choose_place(session, card, graph, loading.max_batch)
        batcher = Batcher(
            session.run,
            max_batch=loading.max_batch,
            pool=None if place.value == "event loop" else loading.pool,
            runners=1 if place.value == "event loop" else loading.runners,
            observe=lambda items: loading.observe(card.name, graph.operation, items),
        )
        return Runner(graph, batcher, {"device": session.device, "threads": threads, "place": place})

    async def get(self, name: str, version: int | None) -> Autoencoder:
        """The named model; an older version is loaded when asked for. Raises ModelNotFound or ModelRefused."""
        shelf = self.shelf
        current = shelf.loaded.get(name)
        if current and version in (None, current.card.version):
            return current
        found = shelf.versions.get(name)
        if found is None or (version is not None and version not in found):
            raise ModelNotFound("there is no such model or version; GET /models lists them")
        wanted = version or max(found)
        if (name, wanted) in shelf.refused:
            raise ModelRefused(shelf.refused[name, wanted][1])
        return await asyncio.get_running_loop().run_in_executor(self._loader, self._older, name, wanted, found[wanted])

    def _older(self, name: str, version: int, fingerprint: Fingerprint) -> Autoencoder:
        """An older version from the bounded cache, loaded if need be; runs on the loader thread alone."""
        kept = self._old.pop((name, version), None)
        model = kept if kept and kept.fingerprint == fingerprint else self._load(name, version, fingerprint)
        self._old[name, version] = model
        while len(self._old) > self._old_versions:
            self._old.popitem(last=False)
        return model

    async def refresh_soon(self) -> bool:
        """`refresh` on the loader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, self.refresh)

    def offering(self, operation: Operation) -> list[str]:
        """Names of the loaded models that offer an operation."""
        return [name for name, model in self.shelf.loaded.items() if operation in model.runners]

    def choose(self, operation: Operation, default: str) -> str:
        """The model for a request that names none. Raises AmbiguousModel or ModelNotFound."""
        if default:
            return default
        names = self.offering(operation)
        if len(names) == 1:
            return names[0]
        if not names:
            raise ModelNotFound(f"no model here offers {operation}")
        raise AmbiguousModel(f"name one by model=: {', '.join(names)}")

    def close(self) -> None:
        """Let go of the loader; sessions end with their last caller."""
        self._loader.shutdown(wait=False, cancel_futures=True)


def choose_threads(wanted: int, card: Card) -> Choice[int]:
    """Threads of one run: one for small fixed inputs, where batches share the cores; all cores for large pictures."""
    if wanted:
        return Choice(wanted, "asked for")
    if isinstance(card.input, ImageInput) and card.input.height is None:
        found = cores()
        return Choice(found.value, f"pictures of any size; {found.reason}")
    return Choice(1, "small inputs: batches run side by side instead")


def choose_place(session: runtime.Session, card: Card, graph: Graph, max_batch: int) -> Choice[str]:
    """Where batches run: on the event loop if a full one is measured to be short, else in the pool."""
    if isinstance(card.input, ImageInput) and card.input.height is None:
        return Choice("pool", "pictures of any size")
    seconds = session.seconds(np.repeat(runtime.to_array(graph.probe.input)[:1], max_batch, axis=0))
    reason = f"a batch of {max_batch} takes {seconds * 1000:.2f} ms, the bound is {INLINE_SECONDS * 1000:g}"
    return Choice("event loop" if seconds <= INLINE_SECONDS else "pool", reason)

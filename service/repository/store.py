"""models/ -> named autoencoders: found, proven, swapped in whole, dropped when gone.

A version that cannot be proven is refused with its reason and what served before goes on. Knows runners, nothing of
requests. Only `get` may be called from the event loop; `refresh` blocks and runs on one thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service.card import Operation
from service.config import Settings
from service.engine.model import Autoencoder, Runner
from service.errors import AmbiguousModel, ModelNotFound, ModelRefused
from service.repository.layout import Fingerprint, load_card, scan
from service.repository.loader import open_runner
from service.runtime.session import DeviceUnavailable
from service.runtime.tuning import Loading

log = structlog.get_logger()
Version = tuple[str, int]


@dataclass(slots=True)
class Shelf:
    """What is on disk and in memory at one moment; replaced whole, never changed, so readers need no lock."""

    loaded: dict[str, Autoencoder] = field(default_factory=dict[str, Autoencoder])
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict[str, Fingerprint])  # of the loaded versions
    versions: dict[str, dict[int, Fingerprint]] = field(default_factory=dict[str, dict[int, Fingerprint]])
    refused: dict[Version, tuple[Fingerprint, str]] = field(default_factory=dict[Version, tuple[Fingerprint, str]])


class Store:
    """The models of a folder. Raises DeviceUnavailable from `refresh` where the settings insist on a device."""

    def __init__(self, folder: Path, loading: Loading, *, old_versions: int) -> None:
        self.folder, self.loading = folder, loading
        self.shelf = Shelf()
        self._old: OrderedDict[Version, tuple[Fingerprint, Autoencoder]] = OrderedDict()
        self._old_versions = old_versions
        self._loader = ThreadPoolExecutor(1, "loader")  # sessions are made one at a time, off the pool of requests

    def refresh(self) -> bool:
        """Bring memory in line with the folder; whether anything changed. What cannot be read takes nothing away."""
        before = self.shelf
        try:
            versions = scan(self.folder)
        except OSError as error:
            log.warning("the models folder cannot be read", folder=str(self.folder), reason=error.strerror)
            return False
        for name in (name for name, found in versions.items() if not found):
            log.warning("a model's folder cannot be read", model=name)
        after = Shelf(versions=versions)
        after.refused = {key: why for key, why in before.refused.items() if versions.get(key[0], {}).get(key[1])}
        for name, found in versions.items():
            best = self._best(name, found, before, after.refused)
            if best is not None:
                after.fingerprints[name], after.loaded[name] = best
        self.shelf = after
        return after != before

    def _best(
        self,
        name: str,
        found: dict[int, Fingerprint],
        before: Shelf,
        refused: dict[Version, tuple[Fingerprint, str]],
    ) -> tuple[Fingerprint, Autoencoder] | None:
        """The highest good version; what serves now, while nothing better is good."""
        current = (before.fingerprints[name], before.loaded[name]) if name in before.loaded else None
        for version in sorted(found, reverse=True):
            if current and current[1].card.version == version and current[0] == found[version]:
                return current
            if refused.get((name, version), ((), ""))[0] == found[version]:
                continue
            try:
                model = self._load(name, version)
            except ModelRefused as problem:
                refused[name, version] = (found[version], problem.detail)
            else:
                refused.pop((name, version), None)
                return found[version], model
        return current

    def _load(self, name: str, version: int) -> Autoencoder:
        """A version, proven. Raises ModelRefused, whatever is wrong with it: the others are served all the same."""
        try:
            return self._prove(name, version)
        except (ModelRefused, DeviceUnavailable):
            raise
        except Exception as error:
            log.exception("a model could not be loaded", model=name, version=version)
            raise ModelRefused(f"it cannot be loaded: {type(error).__name__}") from error

    def _prove(self, name: str, version: int) -> Autoencoder:
        folder = self.folder / name / str(version)
        card = load_card(folder)
        if (card.name, card.version) != (name, version):
            raise ModelRefused(f"the card is of {card.name} {card.version}, not of {name} {version}")
        runners: dict[Operation, Runner] = {
            operation: open_runner(folder, card, operation, self.loading) for operation in card.operations
        }
        return Autoencoder(card, runners)

    async def get(self, name: str, version: int | None) -> Autoencoder:
        """The named model; an older version is loaded when asked for. Raises ModelNotFound or ModelRefused."""
        shelf = self.shelf
        current = shelf.loaded.get(name)
        if current and version in (None, current.card.version):
            return current
        found = shelf.versions.get(name)
        if not found or (version is not None and version not in found):
            raise ModelNotFound("there is no such model or version; GET /models lists them")
        wanted = version or max(found)
        if (name, wanted) in shelf.refused:
            raise ModelRefused(shelf.refused[name, wanted][1])
        return await asyncio.get_running_loop().run_in_executor(self._loader, self._older, name, wanted, found[wanted])

    def _older(self, name: str, version: int, fingerprint: Fingerprint) -> Autoencoder:
        """An older version from the bounded cache, loaded if need be; runs on the loader thread alone."""
        kept = self._old.pop((name, version), None)
        model = kept[1] if kept and kept[0] == fingerprint else self._load(name, version)
        self._old[name, version] = (fingerprint, model)
        while len(self._old) > self._old_versions:
            self._old.popitem(last=False)
        return model

    async def refresh_soon(self) -> bool:
        """`refresh` on the loader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, self.refresh)

    def runners(self) -> Iterator[Runner]:
        """Those of every model in memory."""
        for model in [*self.shelf.loaded.values(), *(model for _, model in self._old.values())]:
            yield from model.runners.values()

    def offering(self, operation: Operation) -> list[str]:
        """Names of the loaded models that offer an operation."""
        return [name for name, model in self.shelf.loaded.items() if operation in model.runners]

    def choose(self, operation: Operation, settings: Settings) -> str:
        """The model where none is named: the default or the only one. Raises AmbiguousModel or ModelNotFound."""
        if default := settings.default(operation):
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

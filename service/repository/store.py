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
from service.engine.model import LoadedModel, Runner
from service.errors import AmbiguousModel, ModelNotFound, ModelRejected
from service.repository.layout import Fingerprint, load_card, scan_models
from service.repository.loader import load_runner
from service.runtime.session import DeviceUnavailable
from service.runtime.tuning import LoadOptions

log = structlog.get_logger()
ModelKey = tuple[str, int]


@dataclass(slots=True)
class Snapshot:
    """What is on disk and in memory at one moment; replaced whole, never changed, so readers need no lock."""

    loaded: dict[str, LoadedModel] = field(default_factory=dict[str, LoadedModel])
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict[str, Fingerprint])  # of the loaded versions
    versions: dict[str, dict[int, Fingerprint]] = field(default_factory=dict[str, dict[int, Fingerprint]])
    rejected: dict[ModelKey, tuple[Fingerprint, str]] = field(default_factory=dict[ModelKey, tuple[Fingerprint, str]])


class Store:
    """The models of a folder. Raises DeviceUnavailable from `refresh` where the settings insist on a device."""

    def __init__(self, folder: Path, load_options: LoadOptions, *, max_old_versions: int) -> None:
        self.folder, self.load_options = folder, load_options
        self.snapshot = Snapshot()
        self._version_cache: OrderedDict[ModelKey, tuple[Fingerprint, LoadedModel]] = OrderedDict()
        self._max_old_versions = max_old_versions
        self._loader = ThreadPoolExecutor(1, "loader")  # sessions are made one at a time, off the pool of requests

    def refresh(self) -> bool:
        """Bring memory in line with the folder; whether anything changed. What cannot be read takes nothing away."""
        before = self.snapshot
        try:
            versions = scan_models(self.folder)
        except OSError as error:
            log.warning("models_dir_unreadable", folder=str(self.folder), reason=error.strerror)
            return False
        for name in (name for name, found in versions.items() if not found):
            log.warning("model_folder_unreadable", model=name)
        after = Snapshot(versions=versions)
        after.rejected = {key: why for key, why in before.rejected.items() if versions.get(key[0], {}).get(key[1])}
        for name, found in versions.items():
            best = self._newest_valid(name, found, before, after.rejected)
            if best is not None:
                after.fingerprints[name], after.loaded[name] = best
        self.snapshot = after
        return after != before

    def _newest_valid(
        self,
        name: str,
        found: dict[int, Fingerprint],
        before: Snapshot,
        rejected: dict[ModelKey, tuple[Fingerprint, str]],
    ) -> tuple[Fingerprint, LoadedModel] | None:
        """The highest good version; what serves now, while nothing better is good."""
        current = (before.fingerprints[name], before.loaded[name]) if name in before.loaded else None
        for version in sorted(found, reverse=True):
            if current and current[1].card.version == version and current[0] == found[version]:
                return current
            if rejected.get((name, version), ((), ""))[0] == found[version]:
                continue
            try:
                model = self._load(name, version)
            except ModelRejected as problem:
                rejected[name, version] = (found[version], problem.detail)
            else:
                rejected.pop((name, version), None)
                return found[version], model
        return current

    def _load(self, name: str, version: int) -> LoadedModel:
        """A version, proven. Raises ModelRefused, whatever is wrong with it: the others are served all the same."""
        try:
            return self._load_verified(name, version)
        except (ModelRejected, DeviceUnavailable):
            raise
        except Exception as error:
            log.exception("model_load_failed", model=name, version=version)
            raise ModelRejected(f"it cannot be loaded: {type(error).__name__}") from error

    def _load_verified(self, name: str, version: int) -> LoadedModel:
        folder = self.folder / name / str(version)
        card = load_card(folder)
        if (card.name, card.version) != (name, version):
            raise ModelRejected(f"the card is of {card.name} {card.version}, not of {name} {version}")
        runners: dict[Operation, Runner] = {
            operation: load_runner(folder, card, operation, self.load_options) for operation in card.operations
        }
        return LoadedModel(card, runners)

    async def get(self, name: str, version: int | None) -> LoadedModel:
        """The named model; an older version is loaded when asked for. Raises ModelNotFound or ModelRefused."""
        shelf = self.snapshot
        current = shelf.loaded.get(name)
        if current and version in (None, current.card.version):
            return current
        found = shelf.versions.get(name)
        if not found or (version is not None and version not in found):
            raise ModelNotFound("there is no such model or version; GET /models lists them")
        wanted = version or max(found)
        if (name, wanted) in shelf.rejected:
            raise ModelRejected(shelf.rejected[name, wanted][1])
        return await asyncio.get_running_loop().run_in_executor(
            self._loader, self._load_older, name, wanted, found[wanted]
        )

    def _load_older(self, name: str, version: int, fingerprint: Fingerprint) -> LoadedModel:
        """An older version from the bounded cache, loaded if need be; runs on the loader thread alone."""
        kept = self._version_cache.pop((name, version), None)
        model = kept[1] if kept and kept[0] == fingerprint else self._load(name, version)
        self._version_cache[name, version] = (fingerprint, model)
        while len(self._version_cache) > self._max_old_versions:
            self._version_cache.popitem(last=False)
        return model

    async def refresh_async(self) -> bool:
        """`refresh` on the loader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, self.refresh)

    def runners(self) -> Iterator[Runner]:
        """Those of every model in memory."""
        for model in [*self.snapshot.loaded.values(), *(model for _, model in self._version_cache.values())]:
            yield from model.runners.values()

    def models_for(self, operation: Operation) -> list[str]:
        """Names of the loaded models that offer an operation."""
        return [name for name, model in self.snapshot.loaded.items() if operation in model.runners]

    def default_for(self, operation: Operation, settings: Settings) -> str:
        """The model where none is named: the default or the only one. Raises AmbiguousModel or ModelNotFound."""
        if default := settings.default_model(operation):
            return default
        names = self.models_for(operation)
        if len(names) == 1:
            return names[0]
        if not names:
            raise ModelNotFound(f"no model here offers {operation}")
        raise AmbiguousModel(f"name one by model=: {', '.join(names)}")

    def close(self) -> None:
        """Let go of the loader; sessions end with their last caller."""
        self._loader.shutdown(wait=False, cancel_futures=True)

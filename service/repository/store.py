"""Keeps the models of a folder in memory: loads, verifies and replaces versions, and drops removed ones.

A version that cannot be verified is rejected with a reason, and the version before it stays in use. `Store.get` runs on
the event loop. `Store.refresh` blocks and runs on the loader thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from service.card import Operation
from service.config import BUILTIN_DEFAULTS, Settings
from service.engine.model import LoadedModel, Runner
from service.errors import AmbiguousModel, ModelNotFound, ModelRejected
from service.repository.layout import Fingerprint, scan_models
from service.repository.pins import Pin, read_pin
from service.repository.version_loader import OnLoad, load_version
from service.runtime.tuning import LoadOptions

log = structlog.get_logger()
ModelKey = tuple[str, int]
"""Name and version of a model."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A version that cannot be used, its fingerprint when it was loaded, and the reason."""

    name: str
    version: int
    fingerprint: Fingerprint
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and the fingerprint of its files when it was loaded."""

    fingerprint: Fingerprint
    model: LoadedModel


@dataclass(slots=True)
class Snapshot:
    """The versions on disk and in memory at one time. A refresh replaces it as a whole, so readers need no lock.

    `fingerprints` are those of the loaded versions. `versions` are those on disk. `kept` are versions that stay in
    memory beside the loaded ones, because a default or a pin names them.
    """

    loaded: dict[str, LoadedModel] = field(default_factory=dict[str, LoadedModel])
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict[str, Fingerprint])
    versions: dict[str, dict[int, Fingerprint]] = field(default_factory=dict[str, dict[int, Fingerprint]])
    rejected: dict[ModelKey, Rejected] = field(default_factory=dict[ModelKey, Rejected])
    pins: dict[str, Pin] = field(default_factory=dict[str, Pin])
    kept: dict[ModelKey, Loaded] = field(default_factory=dict[ModelKey, Loaded])

    def find(self, name: str) -> Loaded | None:
        """Return the loaded version of a model."""
        return Loaded(self.fingerprints[name], self.loaded[name]) if name in self.loaded else None


class Store:
    """The models of a folder, loaded with `load_options`.

    At most `max_old_versions` versions that are not the newest stay in memory. `on_load` gets every attempt to load
    a version.
    """

    def __init__(
        self,
        folder: Path,
        load_options: LoadOptions,
        *,
        max_old_versions: int,
        default_versions: Collection[ModelKey] = (),
        on_load: OnLoad = lambda *_: None,
    ) -> None:
        self.folder = folder
        self.load_options = load_options
        self.snapshot = Snapshot()
        self._unreadable: str | None = None  # the reason that was logged
        self._version_cache: OrderedDict[ModelKey, Loaded] = OrderedDict()
        self._max_old_versions = max_old_versions
        self._default_versions = default_versions
        self._on_load = on_load
        self._shares: dict[str, float] = {}  # percent by model that the candidate is still to get
        self.unloaded: set[tuple[str, Operation]] = set()
        """Models and operations that a client has unloaded, until a client loads them again."""
        self._loader = ThreadPoolExecutor(1, "loader")  # loads one model at a time, outside the pool for requests

    def refresh(self) -> bool:
        """Load new versions and drop removed models. Return whether anything has changed.

        If the folder cannot be read, nothing changes. Raises DeviceUnavailable if the device of the load options is
        `cuda` and CUDA cannot be used.
        """
        before = self.snapshot
        try:
            versions = scan_models(self.folder)
        except OSError as error:
            if error.strerror != self._unreadable:
                log.warning("models_dir_unreadable", folder=str(self.folder), reason=error.strerror)
            self._unreadable = error.strerror
            return False
        self._unreadable = None
        after = Snapshot(versions=versions)
        after.rejected = {
            key: rejected
            for key, rejected in before.rejected.items()
            if versions.get(rejected.name, {}).get(rejected.version)
        }
        for name, fingerprints in versions.items():
            if not fingerprints and before.versions.get(name) != {}:  # once, not at every refresh
                log.warning("model_folder_unreadable", model=name)
            allowed = self._allowed_versions(name, fingerprints, before, after)
            newest = self._newest_valid(name, allowed, before.find(name), after.rejected)
            if newest is not None:
                after.fingerprints[name] = newest.fingerprint
                after.loaded[name] = newest.model
        self._load_kept(before, after)
        self.snapshot = after
        return after != before

    def _allowed_versions(
        self, name: str, fingerprints: dict[int, Fingerprint], before: Snapshot, after: Snapshot
    ) -> dict[int, Fingerprint]:
        """Return the versions of which the newest is to serve: the pinned one, or all. The pin is stored in `after`.

        If the pin is invalid, the one before it stays.
        """
        try:
            pin = read_pin(self.folder / name)
        except ModelRejected as problem:
            log.warning("pin_refused", model=name, reason=problem.detail)
            pin = before.pins.get(name)
        if pin is None:
            return fingerprints
        after.pins[name] = pin
        if pin.version not in fingerprints and before.pins.get(name) != pin:
            log.warning("pinned_version_missing", model=name, version=pin.version)
        return {version: files for version, files in fingerprints.items() if version == pin.version}

    def _load_kept(self, before: Snapshot, after: Snapshot) -> None:
        """Load the versions that defaults and pins name, unless they serve anyway."""
        candidates = {(name, pin.candidate) for name, pin in after.pins.items() if pin.candidate}
        for name, version in sorted({*self._default_versions, *candidates}):
            fingerprint = after.versions.get(name, {}).get(version)
            loaded = after.find(name)
            if not fingerprint or (loaded and loaded.model.card.version == version):
                continue
            kept = before.kept.get((name, version)) or before.find(name)
            earlier = after.rejected.get((name, version))
            if kept and (kept.model.card.version, kept.fingerprint) == (version, fingerprint):
                after.kept[name, version] = kept
            elif not earlier or earlier.fingerprint != fingerprint:
                try:
                    after.kept[name, version] = Loaded(fingerprint, self._load(name, version))
                    after.rejected.pop((name, version), None)
                except ModelRejected as problem:
                    after.rejected[name, version] = Rejected(name, version, fingerprint, problem.detail)

    def choose_version(self, name: str) -> int | None:
        """Return the candidate of a model for its share of calls of this method, or else None."""
        pin = self.snapshot.pins.get(name)
        if pin is None or not pin.candidate or (name, pin.candidate) not in self.snapshot.kept:
            return None
        share = self._shares.get(name, 0.0) + pin.percent
        chosen = share >= 100
        self._shares[name] = share - 100 if chosen else share
        return pin.candidate if chosen else None

    def _newest_valid(
        self,
        name: str,
        fingerprints: dict[int, Fingerprint],
        current: Loaded | None,
        rejected: dict[ModelKey, Rejected],
    ) -> Loaded | None:
        """Return the highest valid version of a model, or `current` if no version on disk is valid.

        `rejected` is updated.
        """
        for version, fingerprint in sorted(fingerprints.items(), reverse=True):
            if current and current.model.card.version == version and current.fingerprint == fingerprint:
                return current
            earlier = rejected.get((name, version))
            if not fingerprint or (earlier and earlier.fingerprint == fingerprint):
                continue  # the version is being removed, or it was rejected and has not changed
            try:
                model = self._load(name, version)
            except ModelRejected as problem:
                rejected[name, version] = Rejected(name, version, fingerprint, problem.detail)
            else:
                rejected.pop((name, version), None)
                return Loaded(fingerprint, model)
        return current

    def _load(self, name: str, version: int) -> LoadedModel:
        """Load and verify a version. Raises ModelRejected for any error in it."""
        return load_version(self.folder / name / str(version), self.load_options, self._on_load, self.unloaded)

    async def get(self, name: str, version: int | None) -> LoadedModel:
        """Return a version of a model, or its newest valid version if `version` is None.

        Older versions are loaded on demand. Raises ModelNotFound if there is no such model or version, and
        ModelRejected if it cannot be used.
        """
        snapshot = self.snapshot
        current = snapshot.loaded.get(name)
        if current and version in (None, current.card.version):
            return current
        if version and (kept := snapshot.kept.get((name, version))):
            return kept.model
        fingerprints = snapshot.versions.get(name)
        if not fingerprints:
            raise ModelNotFound("model: there is no such model; GET /models lists all")
        if version is None and (pin := snapshot.pins.get(name)):
            version = pin.version
        if version is not None and version not in fingerprints:
            available = ", ".join(map(str, sorted(fingerprints)))
            raise ModelNotFound(f"version: {name} has no such version; it has {available}")
        version = version or max(fingerprints)
        rejected = snapshot.rejected.get((name, version))
        if rejected:
            raise ModelRejected(f"version: {version} of {name} was rejected: {rejected.reason}")
        return await asyncio.get_running_loop().run_in_executor(
            self._loader, self._load_older, name, version, fingerprints[version]
        )

    def _load_older(self, name: str, version: int, fingerprint: Fingerprint) -> LoadedModel:
        """Return an older version from the cache, or load it. Runs only on the loader thread."""
        cached = self._version_cache.pop((name, version), None)
        if cached is None or cached.fingerprint != fingerprint:
            cached = Loaded(fingerprint, self._load(name, version))
        self._version_cache[name, version] = cached
        while len(self._version_cache) > self._max_old_versions:
            self._version_cache.popitem(last=False)
        return cached.model

    async def refresh_async(self) -> bool:
        """Call `refresh` on the loader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, self.refresh)

    async def unload(self, name: str, operation: Operation | None) -> None:
        """Release the graph of an operation, or of all if it is None. It stays unloaded when the folder changes.

        Raises ModelNotFound.
        """
        await asyncio.get_running_loop().run_in_executor(self._loader, self._unload, name, operation)

    def _unload(self, name: str, operation: Operation | None) -> None:
        model = self._current(name, operation)
        self.unloaded.update((name, each) for each in model.card.operations if operation in (None, each))
        for key in [key for key in self._version_cache if key[0] == name]:
            del self._version_cache[key]
        runners: dict[Operation, Runner] = {
            each: runner for each, runner in model.runners.items() if (name, each) not in self.unloaded
        }
        self._drop_kept(name)
        self._replace(LoadedModel(model.card, runners))

    def _drop_kept(self, name: str) -> None:
        """Forget the kept versions of a model. The next refresh loads their operations that are not unloaded."""
        kept = {key: loaded for key, loaded in self.snapshot.kept.items() if key[0] != name}
        self.snapshot = replace(self.snapshot, kept=kept)

    async def load(self, name: str, operation: Operation | None) -> None:
        """Load the graph of an operation, or of all if it is None, and look for new versions.

        Raises ModelNotFound or ModelRejected.
        """
        await asyncio.get_running_loop().run_in_executor(self._loader, self._load_again, name, operation)

    def _load_again(self, name: str, operation: Operation | None) -> None:
        self.refresh()
        model = self._current(name, operation)
        self.unloaded -= {(name, each) for each in model.card.operations if operation in (None, each)}
        if set(model.card.operations) - set(model.runners) - {each for other, each in self.unloaded if other == name}:
            self._replace(self._load(name, model.card.version))
        self._drop_kept(name)
        self.refresh()

    def _current(self, name: str, operation: Operation | None) -> LoadedModel:
        model = self.snapshot.loaded.get(name)
        if model is None or (operation and operation not in model.card.operations):
            raise ModelNotFound("model: there is no such model or operation")
        return model

    def _replace(self, model: LoadedModel) -> None:
        """Replace the loaded version of a model in the snapshot."""
        self.snapshot = replace(self.snapshot, loaded={**self.snapshot.loaded, model.card.name: model})

    def runners(self) -> Iterator[Runner]:
        """Return the runners of all models in memory."""
        older = [cached.model for cached in self._version_cache.values()]
        kept = [loaded.model for loaded in self.snapshot.kept.values()]
        for model in [*self.snapshot.loaded.values(), *kept, *older]:
            yield from model.runners.values()

    def models_for(self, operation: Operation) -> list[str]:
        """Return the names of the loaded models that support an operation."""
        return [name for name, model in self.snapshot.loaded.items() if operation in model.runners]

    def default_model(self, operation: Operation, settings: Settings) -> str:
        """Return the default of the settings, or the first built-in default that is loaded, or an empty string."""
        if default := settings.default_model(operation):
            return default
        names = self.models_for(operation)
        return next((name for name in BUILTIN_DEFAULTS[operation] if name in names), "")

    def default_for(self, operation: Operation, settings: Settings) -> str:
        """Return the name of the model to use if a request names none: the default, or the only candidate.

        Raises AmbiguousModel if there are several candidates, and ModelNotFound if there is none.
        """
        if default := self.default_model(operation, settings):
            return default
        names = self.models_for(operation)
        if len(names) == 1:
            return names[0]
        if not names:
            raise ModelNotFound(f"model: none supports {operation}; GET /models lists all")
        raise AmbiguousModel(f"model: choose one of {', '.join(names)}")

    def close(self) -> None:
        """Stop the loader thread. Loaded sessions are freed with their last reference."""
        self._loader.shutdown(wait=False, cancel_futures=True)

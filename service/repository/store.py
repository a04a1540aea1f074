"""Keeps the models of a folder in memory: loads, verifies and replaces versions, and drops removed ones.

A version that cannot be verified is rejected with a reason, and the version before it stays in use. Models on standby,
which a refresh has only listed or which the memory budget has unloaded, are loaded by the first request for them.
`Store.get` runs on the event loop. `Store.refresh` blocks, and runs on the loader thread as all changes of the snapshot
do. That thread loads one model at a time, because onnxruntime does not promise that several sessions can be created at
once (its issue 27089).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import structlog

from service.card import Card, Operation
from service.config import BUILTIN_DEFAULTS, Settings
from service.engine.model import LoadedModel, Runner
from service.errors import AmbiguousModel, ModelNotFound, ModelRejected
from service.repository.defaults import default_faults
from service.repository.layout import Fingerprint
from service.repository.refresh import Refresher
from service.repository.residency import Residency
from service.repository.snapshot import Loaded, ModelKey, Rejected, Snapshot, Standby
from service.repository.version_loader import OnLoad, VersionLoader
from service.runtime.allocator import release_free_memory
from service.runtime.providers import DeviceUnavailable
from service.runtime.tuning import LoadOptions

log = structlog.get_logger()


class Store:
    """The models of a folder, loaded with `load_options`.

    At most `max_old_versions` versions that are not the newest stay in memory. With a `memory_budget` in bytes, idle
    models beyond it are unloaded, but for the default models of the settings that `load_defaults` gets. `on_load` gets
    every attempt to load a version.
    """

    def __init__(
        self,
        folder: Path,
        load_options: LoadOptions,
        *,
        max_old_versions: int,
        default_versions: Collection[ModelKey] = (),
        memory_budget: int = 0,
        on_load: OnLoad = lambda *_: None,
    ) -> None:
        self.folder = folder
        self.load_options = load_options
        self.snapshot = Snapshot()
        self._versions = VersionLoader(folder, load_options, on_load)
        self._version_cache: OrderedDict[ModelKey, Loaded] = OrderedDict()
        self._max_old_versions = max_old_versions
        self._refresher = Refresher(self._versions, default_versions)
        self._residency = Residency(memory_budget)
        self._settings: Settings | None = None  # of the default models
        self._shares: dict[str, float] = {}  # percent by model that the candidate is still to get
        self._loader = ThreadPoolExecutor(1, "loader")  # loads one model at a time, outside the pool for requests

    @property
    def unloaded(self) -> set[tuple[str, Operation]]:
        """Models and operations that a client has unloaded, until a client loads them again."""
        return self._versions.unloaded

    def refresh(self, *, lazy: bool = False) -> bool:
        """Load new versions and drop removed models. Return whether anything has changed.

        With `lazy`, models that were unknown are not loaded, but wait for `load_defaults`, `load_pending` or a request.
        If the folder cannot be read, nothing changes. Raises DeviceUnavailable if the device of the load options was
        requested and cannot be used.
        """
        before = self.snapshot
        self.snapshot = self._refresher.refresh(before, lazy=lazy or self._residency.budget > 0)
        if not lazy:
            changed = [
                name for name, standby in self.snapshot.standby.items() if before.standby.get(name) is not standby
            ]
            for name in changed:  # new models and versions are loaded as far as they fit the budget
                self._settle(name)
        self._unload_idle()
        return self.snapshot != before

    def choose_version(self, name: str) -> int | None:
        """Return the candidate of a model for its share of calls of this method, or else None."""
        pin = self.snapshot.pins.get(name)
        if pin is None or not pin.candidate or (name, pin.candidate) not in self.snapshot.kept:
            return None
        share = self._shares.get(name, 0.0) + pin.percent
        chosen = share >= 100
        self._shares[name] = share - 100 if chosen else share
        return pin.candidate if chosen else None

    async def get(self, name: str, version: int | None) -> LoadedModel:
        """Return a version of a model, or its newest valid version if `version` is None.

        Versions that are not in memory are loaded. Raises ModelNotFound if there is no such model or version, and
        ModelRejected if it cannot be used.
        """
        snapshot = self.snapshot
        current = snapshot.loaded.get(name)
        if current and version in (None, current.card.version):
            self._residency.touch(name)
            return current
        if version and (kept := snapshot.kept.get((name, version))):
            return kept.model
        loop = asyncio.get_running_loop()
        if (standby := snapshot.standby.get(name)) and version in (None, standby.version):
            current = await loop.run_in_executor(self._loader, self._load_standby, name)
            if current and version in (None, current.card.version):
                return current
            snapshot = self.snapshot
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
        return await loop.run_in_executor(self._loader, self._load_older, name, version, fingerprints[version])

    async def card(self, name: str) -> Card:
        """Return the card of the serving version of a model. Only a model whose card was not read yet is loaded.

        Raises ModelNotFound or ModelRejected.
        """
        standby = self.snapshot.standby.get(name)
        return standby.card if standby and standby.card else (await self.get(name, None)).card

    def _load_standby(self, name: str) -> LoadedModel | None:
        """Load a model that is not in memory, and unload others if it needs their room. Return None if it is invalid.

        Runs only on the loader thread. If the model is in memory already, it is returned.
        """
        if name in self.snapshot.standby:
            after = self._copy_snapshot()
            del after.standby[name]
            if newest := self._versions.newest_valid(name, after):
                after.loaded[name] = newest.model
                after.fingerprints[name] = newest.fingerprint
            self.snapshot = after
        if name in self.snapshot.loaded:
            self._residency.touch(name)
            self._unload_idle(name)
        return self.snapshot.loaded.get(name)

    def _copy_snapshot(self) -> Snapshot:
        """Return a snapshot of which the models and the rejected versions can be changed."""
        before = self.snapshot
        return replace(
            before,
            loaded=dict(before.loaded),
            fingerprints=dict(before.fingerprints),
            standby=dict(before.standby),
            rejected=dict(before.rejected),
        )

    def _unload_idle(self, needed: str = "") -> None:
        """Unload the least recently used models that exceed the memory budget. They stay on standby."""
        names = self._residency.victims(self.snapshot, {*self._default_names(), needed})
        if not names:
            return
        after = self._copy_snapshot()
        for name in names:
            card = after.loaded.pop(name).card
            after.standby[name] = Standby(card.version, after.fingerprints.pop(name), card)
        self.snapshot = after
        release_free_memory()
        log.info("models_unloaded", models=names, reason="the memory budget of idle models")

    def load_defaults(self, settings: Settings) -> None:
        """List the models of the folder, and load those that requests get which name no model.

        If an operation has no default, the cards of all models are read to find out whether there is a lone candidate.
        """
        self._settings = settings
        self.refresh(lazy=True)
        for operation in get_args(Operation):
            default = settings.default_model(operation)
            names = (default,) if default else BUILTIN_DEFAULTS[operation]
            name = next((name for name in names if self._load_for(name, operation)), "")
            if not (default or name):
                self.read_cards()
                lone = self.models_for(operation)
                if len(lone) == 1:
                    self._load_standby(lone[0])

    def _default_names(self) -> set[str]:
        """Return the models that requests get which name none. They may have been added after the start."""
        if self._settings is None:
            return set()
        names: set[str] = set()
        for operation in get_args(Operation):
            default = self.default_model(operation, self._settings)
            candidates = [default] if default else self.models_for(operation)
            names.update(candidates if len(candidates) == 1 else [])
        return names

    def _load_for(self, name: str, operation: Operation) -> bool:
        """Load a model if it is on standby. Return whether it serves an operation from memory."""
        model = self._load_standby(name)
        return model is not None and operation in model.runners

    def read_cards(self) -> None:
        """Read the cards of all models on standby."""
        for name in self.snapshot.standby:
            self._read_standby_card(name, pending=True)

    def _read_standby_card(self, name: str, *, pending: bool) -> None:
        """Read the card of a model on standby. Versions whose card is invalid are rejected."""
        standby = self.snapshot.standby.get(name)
        if standby is None:
            return
        after = self._copy_snapshot()
        del after.standby[name]
        for version, fingerprint in after.candidates(name):
            try:
                known = standby.card if version == standby.version else None
                card = known or self._versions.read_card(name, version)
            except ModelRejected as problem:
                after.rejected[name, version] = Rejected(name, version, fingerprint, problem.detail)
            else:
                after.standby[name] = Standby(version, fingerprint, card, pending)
                break
        self.snapshot = after

    async def load_pending(self) -> None:
        """Load the models that no default names, one after another, while they fit the memory budget.

        Of the others only the cards are read. Requests for a model are served between two loads.
        """
        loop = asyncio.get_running_loop()
        while names := [name for name, standby in self.snapshot.standby.items() if standby.pending]:
            await loop.run_in_executor(self._loader, self._settle, names[0])

    def _settle(self, name: str) -> None:
        """Load a pending model if it fits the memory budget, else read its card."""
        standby = self.snapshot.standby.get(name)
        if standby is None or not standby.pending:
            return
        if not self._residency.has_room(self.snapshot, standby.fingerprint):
            self._read_standby_card(name, pending=False)
            return
        try:
            self._load_standby(name)
        except DeviceUnavailable as error:  # of this model only, because the default models have been loaded
            after = self._copy_snapshot()
            del after.standby[name]
            after.rejected[name, standby.version] = Rejected(name, standby.version, standby.fingerprint, str(error))
            self.snapshot = after

    def _load_older(self, name: str, version: int, fingerprint: Fingerprint) -> LoadedModel:
        """Return an older version from the cache, or load it. Runs only on the loader thread."""
        cached = self._version_cache.pop((name, version), None)
        if cached is None or cached.fingerprint != fingerprint:
            cached = Loaded(fingerprint, self._versions.load(name, version))
        self._version_cache[name, version] = cached
        while len(self._version_cache) > self._max_old_versions:
            self._version_cache.popitem(last=False)
        return cached.model

    async def refresh_async(self) -> bool:
        """Call `refresh` on the loader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, self.refresh)

    async def load_defaults_async(self, settings: Settings) -> None:
        """Call `load_defaults` on the loader thread."""
        await asyncio.get_running_loop().run_in_executor(self._loader, self.load_defaults, settings)

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
        self._versions.unloaded -= {(name, each) for each in model.card.operations if operation in (None, each)}
        if set(model.card.operations) - set(model.runners) - {each for other, each in self.unloaded if other == name}:
            self._replace(self._versions.load(name, model.card.version))
        self._drop_kept(name)
        self.refresh()

    def _current(self, name: str, operation: Operation | None) -> LoadedModel:
        model = self._load_standby(name)
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
        """Return the names of the models that support an operation; cards that were not read yet do not count."""
        return [name for name in self.snapshot.serving_versions() if self._serves(name, operation)]

    def operations(self, name: str) -> list[Operation]:
        """Return the operations of a model, or none if there is no such model or its card was not read yet."""
        snapshot = self.snapshot
        if name in snapshot.loaded:
            return list(snapshot.loaded[name].runners)
        standby = snapshot.standby.get(name)
        if standby is None or standby.card is None:
            return []
        return [each for each in standby.card.operations if (name, each) not in self.unloaded]

    def _serves(self, name: str, operation: Operation) -> bool:
        model = self.snapshot.loaded.get(name)
        return operation in (model.runners if model else self.operations(name))

    def default_model(self, operation: Operation, settings: Settings) -> str:
        """Return the default of the settings, or the first built-in default that serves, or an empty string."""
        if default := settings.default_model(operation):
            return default
        return next((name for name in BUILTIN_DEFAULTS[operation] if self._serves(name, operation)), "")

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

    def default_faults(self) -> list[str]:
        """Return why defaults of the settings cannot be served."""
        return default_faults(self.snapshot, self._settings) if self._settings else []

    def close(self) -> None:
        """Stop the loader thread. Loaded sessions are freed with their last reference."""
        self._loader.shutdown(wait=False, cancel_futures=True)

"""Loads whole versions: the card, and a verified runner for each of its operations."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import structlog

from service.card import Card, Operation
from service.engine.bitstream import check_tables
from service.engine.model import LoadedModel, Runner
from service.errors import ModelRejected
from service.repository.layout import load_card
from service.repository.loader import load_runner
from service.repository.snapshot import Loaded, Rejected, Snapshot
from service.runtime.providers import DeviceUnavailable
from service.runtime.tuning import LoadOptions
from service.types import LoadResult

log = structlog.get_logger()
OnLoad = Callable[[str, LoadResult, float], None]
"""Gets the name of the model, the result and the seconds of an attempt to load a version."""


class VersionLoader:
    """Loads versions from a folder of models with `options`.

    `unloaded` are the models and operations that a client has unloaded. They are left out. `on_load` gets every
    attempt.
    """

    def __init__(self, folder: Path, options: LoadOptions, on_load: OnLoad = lambda *_: None) -> None:
        self.folder = folder
        self.options = options
        self.on_load = on_load
        self.unloaded: set[tuple[str, Operation]] = set()

    def newest_valid(self, name: str, snapshot: Snapshot, current: Loaded | None = None) -> Loaded | None:
        """Return the first version of the candidates that is valid, or `current` if none is.

        The rejected ones are added to those of the snapshot.
        """
        for version, fingerprint in snapshot.candidates(name):
            if current and current.model.card.version == version and current.fingerprint == fingerprint:
                return current
            try:
                model = self.load(name, version)
            except ModelRejected as problem:
                snapshot.rejected[name, version] = Rejected(name, version, fingerprint, problem.detail)
            else:
                snapshot.rejected.pop((name, version), None)
                return Loaded(fingerprint, model)
        return current

    def load(self, name: str, version: int) -> LoadedModel:
        """Load and verify a version.

        Raises ModelRejected for any error in the version, so that other models are still served.
        """
        started_at = perf_counter()
        result: LoadResult = "failed"
        try:
            model = self._load_verified(name, version)
            result = "loaded"
            return model
        except ModelRejected:
            result = "rejected"
            raise
        except DeviceUnavailable:
            raise
        except Exception as error:
            log.exception("model_load_failed", model=name, version=version)
            raise ModelRejected(f"the version cannot be loaded: {type(error).__name__}") from error
        finally:
            self.on_load(name, result, perf_counter() - started_at)

    def _load_verified(self, name: str, version: int) -> LoadedModel:
        folder = self.folder / name / str(version)
        card = self.read_card(name, version)
        runners: dict[Operation, Runner] = {
            operation: load_runner(folder, card, operation, self.options)
            for operation in card.operations
            if (name, operation) not in self.unloaded
        }
        check_tables(card)
        return LoadedModel(card, runners)

    def read_card(self, name: str, version: int) -> Card:
        """Read the card of a version. Raises ModelRejected."""
        folder = self.folder / name / str(version)
        card = load_card(folder, self.options.link_dirs, self.options.trusted_keys)
        if (card.name, card.version) != (name, version):
            raise ModelRejected(f"the card is for {card.name} {card.version}, not for {name} {version}")
        return card

"""What a store knows at one time: versions on disk, loaded models, those that a request loads, rejected versions."""

from dataclasses import dataclass, field

from service.card import Card
from service.engine.model import LoadedModel
from service.repository.layout import Fingerprint
from service.repository.pins import Pin

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


@dataclass(frozen=True, slots=True)
class Standby:
    """A version that serves and is not in memory: a request loads and verifies it.

    `card` is None until it was read. `pending` says that the service itself will load it, without a request.
    """

    version: int
    fingerprint: Fingerprint
    card: Card | None = None
    pending: bool = False


@dataclass(slots=True)
class Snapshot:
    """The versions on disk and in memory at one time. A change replaces it as a whole, so readers need no lock.

    A model that serves is either in `loaded` or in `standby`. `fingerprints` are those of the loaded versions.
    `versions` are those on disk. `kept` are versions that stay in memory beside the loaded ones, because a default or a
    pin names them.
    """

    loaded: dict[str, LoadedModel] = field(default_factory=dict[str, LoadedModel])
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict[str, Fingerprint])
    standby: dict[str, Standby] = field(default_factory=dict[str, Standby])
    versions: dict[str, dict[int, Fingerprint]] = field(default_factory=dict[str, dict[int, Fingerprint]])
    rejected: dict[ModelKey, Rejected] = field(default_factory=dict[ModelKey, Rejected])
    pins: dict[str, Pin] = field(default_factory=dict[str, Pin])
    kept: dict[ModelKey, Loaded] = field(default_factory=dict[ModelKey, Loaded])

    def find(self, name: str) -> Loaded | None:
        """Return the loaded version of a model."""
        return Loaded(self.fingerprints[name], self.loaded[name]) if name in self.loaded else None

    def serving_version(self, name: str) -> int | None:
        """Return the version of a model that serves, in memory or not, or None if there is none."""
        if name in self.loaded:
            return self.loaded[name].card.version
        return self.standby[name].version if name in self.standby else None

    def serving_versions(self) -> dict[str, int]:
        """Return the serving version of every model, by name in alphabetical order."""
        versions = {name: model.card.version for name, model in self.loaded.items()}
        return dict(sorted((versions | {name: standby.version for name, standby in self.standby.items()}).items()))

    def candidates(self, name: str) -> list[tuple[int, Fingerprint]]:
        """Return the versions of a model that may serve, the first choice first.

        They are the pinned version, or all from the highest to the lowest, without those that are being removed and
        those that were rejected and have not changed.
        """
        pin = self.pins.get(name)
        return [
            (version, fingerprint)
            for version, fingerprint in sorted(self.versions.get(name, {}).items(), reverse=True)
            if fingerprint
            and not self._was_rejected(name, version, fingerprint)
            and (pin is None or version == pin.version)
        ]

    def _was_rejected(self, name: str, version: int, fingerprint: Fingerprint) -> bool:
        earlier = self.rejected.get((name, version))
        return earlier is not None and earlier.fingerprint == fingerprint

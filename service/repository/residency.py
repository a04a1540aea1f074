"""Chooses the idle models that leave memory, when the loaded models need more of it than their budget."""

from collections.abc import Collection

from service.engine.model import LoadedModel
from service.repository.layout import Fingerprint
from service.repository.snapshot import Snapshot

COPIES_OF_WEIGHTS = 2  # onnxruntime keeps the weights as they are in the file, and packed for its kernels
GRAPH_BYTES = 1 << 20  # of a session without its weights: nodes, kernels and a small arena


def graph_bytes(fingerprint: Fingerprint, files: Collection[str]) -> int:
    """Estimate the bytes in memory of the graphs of a version, by the size of their files."""
    sizes = [size for name, size, *_ in fingerprint if name in files]
    return COPIES_OF_WEIGHTS * sum(sizes) + GRAPH_BYTES * len(sizes)


def model_bytes(fingerprint: Fingerprint, model: LoadedModel) -> int:
    """Estimate the bytes in memory of a loaded model."""
    return graph_bytes(fingerprint, {runner.graph.file for runner in model.runners.values()})


def largest_bytes(fingerprint: Fingerprint) -> int:
    """Return an upper bound of `model_bytes` of a version that is not loaded: that of all its graphs."""
    return graph_bytes(fingerprint, {name for name, *_ in fingerprint if name.endswith(".onnx")})


class Residency:
    """The budget of the loaded models in bytes, and when each of them was last used. A budget of 0 is no bound.

    `touch` is called on the event loop, and the other methods on the loader thread.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._uses = 0
        self._last_use: dict[str, int] = {}

    def touch(self, name: str) -> None:
        """Note that a model is used now."""
        self._uses += 1
        self._last_use[name] = self._uses

    def has_room(self, snapshot: Snapshot, fingerprint: Fingerprint) -> bool:
        """Return whether a version fits beside the loaded models."""
        return not self.budget or self._total(snapshot) + largest_bytes(fingerprint) <= self.budget

    def victims(self, snapshot: Snapshot, protected: Collection[str]) -> list[str]:
        """Return the models to unload, so that the others fit the budget: the least recently used first.

        Models that are `protected`, that are running, or whose files have changed and could not be loaded again, stay.
        """
        excess = self._total(snapshot) - self.budget if self.budget else 0
        victims: list[str] = []
        for name in sorted(snapshot.loaded, key=lambda name: self._last_use.get(name, 0)):
            if excess <= 0:
                break
            if name not in protected and _can_return(snapshot, name) and not _is_running(snapshot.loaded[name]):
                victims.append(name)
                excess -= model_bytes(snapshot.fingerprints[name], snapshot.loaded[name])
        return victims

    def _total(self, snapshot: Snapshot) -> int:
        return sum(model_bytes(snapshot.fingerprints[name], model) for name, model in snapshot.loaded.items())


def _can_return(snapshot: Snapshot, name: str) -> bool:
    """Return whether the files of a loaded model are still those that were loaded."""
    version = snapshot.loaded[name].card.version
    return (version, snapshot.fingerprints[name]) in snapshot.candidates(name)[:1]


def _is_running(model: LoadedModel) -> bool:
    """Return whether a run is in progress. The watchdog watches the runs of models in memory only."""
    return any(runner.scheduler.running for runner in model.runners.values())

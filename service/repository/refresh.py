"""Compares the models folder with what serves, and decides what serves from now on."""

from collections.abc import Collection

import structlog

from service.errors import ModelRejected
from service.repository.layout import scan_models
from service.repository.pins import read_pin
from service.repository.snapshot import Loaded, ModelKey, Rejected, Snapshot, Standby
from service.repository.version_loader import VersionLoader

log = structlog.get_logger()


class Refresher:
    """Reads the folder of `versions`. `default_versions` stay in memory beside the versions that serve."""

    def __init__(self, versions: VersionLoader, default_versions: Collection[ModelKey]) -> None:
        self._versions = versions
        self._default_versions = default_versions
        self._unreadable: str | None = None  # the reason that was logged

    def refresh(self, before: Snapshot, *, lazy: bool = False) -> Snapshot:
        """Load new versions, drop removed models, and return what serves then.

        With `lazy`, models that were unknown are not loaded, but pending. If the folder cannot be read, `before` is
        returned. Raises DeviceUnavailable.
        """
        try:
            versions = scan_models(self._versions.folder)
        except OSError as error:
            if error.strerror != self._unreadable:
                log.warning("models_dir_unreadable", folder=str(self._versions.folder), reason=error.strerror)
            self._unreadable = error.strerror
            return before
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
            self._read_pin(name, before, after)
            self._refresh_model(name, before, after, lazy=lazy)
        self._load_kept(before, after)
        return after

    def _refresh_model(self, name: str, before: Snapshot, after: Snapshot, *, lazy: bool) -> None:
        """Decide in `after` how a model serves: the version as before, a new one in memory, or one on standby."""
        current, standby = before.find(name), before.standby.get(name)
        first = next(iter(after.candidates(name)), None)
        if standby and first == (standby.version, standby.fingerprint):
            after.standby[name] = standby
        elif lazy and first and not current:
            after.standby[name] = Standby(*first, pending=True)
        elif newest := self._versions.newest_valid(name, after, current):
            after.fingerprints[name] = newest.fingerprint
            after.loaded[name] = newest.model

    def _read_pin(self, name: str, before: Snapshot, after: Snapshot) -> None:
        """Store the pin of a model in `after`. If it is invalid, the one before it stays."""
        try:
            pin = read_pin(self._versions.folder / name)
        except ModelRejected as problem:
            log.warning("pin_refused", model=name, reason=problem.detail)
            pin = before.pins.get(name)
        if pin is None:
            return
        after.pins[name] = pin
        if pin.version not in after.versions[name] and before.pins.get(name) != pin:
            log.warning("pinned_version_missing", model=name, version=pin.version)

    def _load_kept(self, before: Snapshot, after: Snapshot) -> None:
        """Load the versions that defaults and pins name, unless they serve anyway."""
        candidates = {(name, pin.candidate) for name, pin in after.pins.items() if pin.candidate}
        for name, version in sorted({*self._default_versions, *candidates}):
            fingerprint = after.versions.get(name, {}).get(version)
            if not fingerprint or after.serving_version(name) == version:
                continue
            kept = before.kept.get((name, version)) or before.find(name)
            earlier = after.rejected.get((name, version))
            if kept and (kept.model.card.version, kept.fingerprint) == (version, fingerprint):
                after.kept[name, version] = kept
            elif not earlier or earlier.fingerprint != fingerprint:
                try:
                    after.kept[name, version] = Loaded(fingerprint, self._versions.load(name, version))
                    after.rejected.pop((name, version), None)
                except ModelRejected as problem:
                    after.rejected[name, version] = Rejected(name, version, fingerprint, problem.detail)

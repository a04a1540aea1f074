"""Keeps a local copy of a remote models folder, bounded in bytes, which the store then serves like any folder.

Of several processes, the one that holds the lock of the copy updates it.
"""

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service.errors import ModelRejected
from service.repository.hub.errors import HubUnavailable
from service.repository.hub.listing import Listing, Source
from service.repository.hub.source import open_source
from service.repository.hub.transfer import PARTS_FOLDER, RemoteVersion, parse_listing, pull_version
from service.repository.layout import scan_models
from service.repository.pins import MAX_PIN_BYTES, PIN_FILE, Pin, read_pin, write_pin

log = structlog.get_logger()
ModelKey = tuple[str, int]
Tags = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Changes:
    """What one update of the copy changed: versions that were pulled, removed, and refused with the reasons.

    `failure` is the reason why some version could not be read; the next update tries it again.
    """

    pulled: list[ModelKey] = field(default_factory=list[ModelKey])
    removed: list[ModelKey] = field(default_factory=list[ModelKey])
    refused: dict[ModelKey, str] = field(default_factory=dict[ModelKey, str])
    pins: bool = False
    failure: str | None = None

    @property
    def any(self) -> bool:
        """Whether the copy has changed."""
        return bool(self.pulled or self.removed or self.pins)


class Mirror:
    """The local copy in `folder` of the models folder at `address`, of at most `max_bytes`.

    `served` returns the versions that must not be removed to make room.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        max_bytes: int,
        trusted_keys: Sequence[bytes] = (),
        served: Callable[[], Collection[ModelKey]] = tuple,
    ) -> None:
        self.address = address
        self.folder = folder
        self._max_bytes = max_bytes
        self._trusted_keys = trusted_keys
        self._served = served
        self._source: Source | None = None
        self._lock: int | None = None
        self._refused: dict[ModelKey, tuple[Tags, str]] = {}

    def prepare(self) -> bool:
        """Create the folder, and return whether this process may update it. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._lock is None and sys.platform != "win32":
            import fcntl

            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
            shutil.rmtree(self.folder / PARTS_FOLDER, ignore_errors=True)  # of a process that was killed
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def update(self) -> Changes:
        """Make the copy equal to the remote folder as far as there is room. Return what has changed.

        A version that is refused is tried again when its files at the source have changed. Raises HubUnavailable if
        the folder cannot be listed or holds no version, and OSError: the copy stays as it is.
        """
        self._source = self._source or open_source(self.address)
        listing = await self._source.list_files()
        versions = parse_listing(listing)
        if not versions:
            raise HubUnavailable("holds no NAME/VERSION/card.json")
        changes = Changes()
        pins = await self._update_pins(listing, {version.name for version in versions}, changes)
        for key in set(self._sizes()) - {(version.name, version.version) for version in versions}:
            self._remove(key, changes)
        newest = {version.name: version.version for version in versions}
        pinned = {(name, number) for name, pin in pins.items() for number in (pin.version, pin.candidate)}
        important = [
            version
            for version in versions
            if newest[version.name] == version.version or (version.name, version.version) in pinned
        ]
        others = [version for version in reversed(versions) if version not in important]
        for version in (*important, *others):
            try:
                await self._pull(version, version in important, changes)
            except HubUnavailable as error:  # one version: the others may be there
                changes.failure = changes.failure or str(error)
        return changes

    async def _update_pins(self, listing: Listing, names: set[str], changes: Changes) -> dict[str, Pin]:
        pins: dict[str, Pin] = {}
        for name in names:
            path, folder = f"{name}/{PIN_FILE}", self.folder / name
            try:
                before = read_pin(folder)
                after = await self._read_pin(path) if path in listing else None
            except HubUnavailable:
                raise
            except (ModelRejected, ValueError) as error:
                log.warning("pin_refused", model=name, reason=str(error).splitlines()[0])
                continue
            if after:
                folder.mkdir(exist_ok=True)
                pins[name] = after
            if before != after:
                write_pin(folder, after)
                changes.pins = True
        return pins

    async def _read_pin(self, path: str) -> Pin:
        if self._source is None:
            raise HubUnavailable("is not open")
        return Pin.model_validate_json(b"".join([chunk async for chunk in self._source.read(path, MAX_PIN_BYTES)]))

    async def _pull(self, version: RemoteVersion, important: bool, changes: Changes) -> None:
        key, source = (version.name, version.version), self._source
        sizes = self._sizes()
        if source is None or key in sizes:
            return
        earlier = self._refused.get(key)
        if earlier and earlier[0] == version.tags:
            changes.refused[key] = earlier[1]
            return
        if important:
            self._make_room(version.bytes, changes)
        elif sum(sizes.values()) + version.bytes > self._max_bytes:
            return
        try:
            room = self._max_bytes - sum(self._sizes().values())
            await pull_version(source, version, self.folder, room, self._trusted_keys)
        except ModelRejected as problem:
            self._refused[key] = version.tags, problem.detail
            changes.refused[key] = problem.detail
            log.warning("model_pull_refused", model=version.name, version=version.version, reason=problem.detail)
        else:
            self._refused.pop(key, None)
            changes.pulled.append(key)
            log.info("model_pulled", model=version.name, version=version.version, address=self.address)

    def _sizes(self) -> dict[ModelKey, int]:
        """Return the bytes of the versions in the copy."""
        return {
            (name, version): sum(size for _, size, _, _ in files)
            for name, versions in scan_models(self.folder).items()
            for version, files in versions.items()
        }

    def _make_room(self, needed: int, changes: Changes) -> None:
        """Remove old versions, lowest numbers first, until `needed` bytes fit; never the newest or one that serves."""
        sizes = self._sizes()
        newest: dict[str, int] = {}
        for name, version in sizes:
            newest[name] = max(version, newest.get(name, 0))
        removable = set(sizes) - set(newest.items()) - set(self._served())
        for key in sorted(removable, key=lambda key: key[1]):
            if sum(sizes.values()) + needed <= self._max_bytes:
                return
            del sizes[key]
            self._remove(key, changes)

    def _remove(self, key: ModelKey, changes: Changes) -> None:
        shutil.rmtree(self.folder / key[0] / str(key[1]), ignore_errors=True)
        changes.removed.append(key)


async def keep_updated(mirror: Mirror, refresh: Callable[[], Awaitable[object]], seconds: float | None) -> None:
    """Update the copy every `seconds`, or once if they are None, and refresh the store after changes, until cancelled.

    If the remote folder cannot be reached, the copy stays, and the reason is logged once.
    """
    reason = ""
    try:
        while True:
            try:
                if mirror.prepare():
                    changes = await mirror.update()
                    if changes.any:
                        await refresh()
                    if changes.failure:
                        raise HubUnavailable(changes.failure)
                    reason = ""
            except (HubUnavailable, OSError) as error:
                if str(error) != reason:
                    log.warning("models_source_unavailable", address=mirror.address, reason=str(error))
                reason = str(error)
            except Exception:  # the models that are here are still served
                log.exception("models_update_failed", address=mirror.address)
            if seconds is None:
                return
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311 - replicas should not ask in step
    finally:
        mirror.close()

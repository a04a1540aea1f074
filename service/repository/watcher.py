"""Loads the models in the background of the requests, and refreshes the store when the models folder changes."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import awatch

from service.repository.store import Store

log = structlog.get_logger()
EVENTLESS = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse"),
    *("virtiofs", "vboxsf", "prl_fs", "ceph", "lustre", "afs"),
}
"""File systems whose files other machines change, which the kernel of this one does not notice."""


async def watch_models(store: Store, mode: Literal["auto", "poll"]) -> None:
    """Refresh the store after every change of its folder, until cancelled.

    `poll` is for file systems that send no change events. Targets of links outside the folder are looked at once a
    second. While the folder does not exist, the store is not changed. If another folder takes its place, the store is
    refreshed and the new folder is watched.
    """
    if mode == "auto" and (kind := await asyncio.to_thread(eventless_file_system, store.folder)):
        log.warning("model_watch_falls_back_to_polling", reason=f"{kind} sends no events of changes by other machines")
        mode = "poll"
    while True:
        inode = await asyncio.to_thread(_inode, store.folder)
        try:
            if inode:
                await _refresh(store)
                await _watch_folder(store, inode, mode)
        except Exception as error:  # change events are not available, for example at the inotify limit of the system
            reason = f"{type(error).__name__}: {error}"
            log.warning("model_watch_falls_back_to_polling", reason=reason)
            mode = "poll"
        await asyncio.sleep(1)


def eventless_file_system(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the file system of a folder if changes there may cause no events, or else None."""
    place = os.path.realpath(folder)
    kinds: dict[str, str] = {}
    try:
        for line in mountinfo.read_text().splitlines():
            before, _, after = line.partition(" - ")
            kinds[before.split()[4].replace("\\040", " ")] = after.split()[0]
    except (OSError, IndexError):
        return None
    mounts = [mount for mount in kinds if Path(place).is_relative_to(mount)]
    kind = kinds[max(mounts, key=len)] if mounts else ""
    return kind if kind in EVENTLESS or kind.startswith("fuse.") else None


async def _watch_folder(store: Store, inode: tuple[int, int], mode: Literal["auto", "poll"]) -> None:
    """Refresh the store after every change, until the folder is removed or replaced."""
    stop = asyncio.Event()
    changes = awatch(
        store.folder,
        force_polling=mode == "poll" or None,
        debounce=200,
        step=50,
        rust_timeout=1000,
        yield_on_timeout=True,
        stop_event=stop,
    )
    try:
        async with aclosing(changes):
            started = False
            async for changed in changes:
                if await asyncio.to_thread(_inode, store.folder) != inode:
                    return
                # Neither changes between the last refresh and the start of the watch nor those of the targets of links
                # cause an event.
                if changed or not started or await asyncio.to_thread(has_outside_links, store.folder):
                    await _refresh(store)
                started = True
    except FileNotFoundError:  # the folder was removed between two checks
        return
    finally:
        stop.set()


def has_outside_links(folder: Path) -> bool:
    """Return whether a model, a version or a file of one is a link to a place outside the models folder."""
    root = os.path.realpath(folder)
    return any(
        not Path(os.path.realpath(path)).is_relative_to(root)
        for pattern in ("*", "*/*", "*/*/*")
        for path in folder.glob(pattern)
        if path.is_symlink()
    )


async def _refresh(store: Store) -> None:
    try:
        if await store.refresh_async():
            log_models(store)
    except Exception:  # continue to watch; the loaded models are still served
        log.exception("models_refresh_failed")


def _inode(folder: Path) -> tuple[int, int] | None:
    """Return the device and inode of the folder, which change when it is replaced, or None if it does not exist."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


async def load_others(store: Store) -> None:
    """Load the models that no default names, and log what then serves."""
    if any(standby.pending for standby in store.snapshot.standby.values()):
        await store.load_pending()
        log_models(store)


def log_models(store: Store) -> None:
    """Log the models in memory, those on standby, rejected versions, and defaults that cannot be served."""
    snapshot = store.snapshot
    served = {name: model.card.version for name, model in snapshot.loaded.items()}
    pending = sum(standby.pending for standby in snapshot.standby.values())
    log.info("models_loaded", served=served, pending=pending, on_demand=len(snapshot.standby) - pending)
    for rejected in snapshot.rejected.values():
        log.warning("model_rejected", model=rejected.name, version=rejected.version, reason=rejected.reason)
    for fault in store.default_faults():
        log.error("default_model_unavailable", reason=fault)

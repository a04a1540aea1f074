"""Refreshes the store when the models folder changes."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import awatch

from service.repository.store import Store

log = structlog.get_logger()


async def watch_models(store: Store, mode: Literal["auto", "poll"]) -> None:
    """Refresh the store after every change of its folder, until cancelled.

    `poll` is for file systems that send no change events. While the folder does not exist, the store is not changed. If
    another folder takes its place, the store is refreshed and the new folder is watched.
    """
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
                # Changes between the last refresh and the start of the watch cause no event.
                if changed or not started:
                    await _refresh(store)
                started = True
    except FileNotFoundError:  # the folder was removed between two checks
        return
    finally:
        stop.set()


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


def log_models(store: Store) -> None:
    """Log the served models and the rejected versions."""
    snapshot = store.snapshot
    log.info("models_loaded", served={name: model.card.version for name, model in snapshot.loaded.items()})
    for rejected in snapshot.rejected.values():
        log.warning("model_rejected", model=rejected.name, version=rejected.version, reason=rejected.reason)

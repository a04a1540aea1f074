"""Sees the models folder change and tells the store; knows neither models nor requests."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import awatch

from service.repository.store import Store

log = structlog.get_logger()


async def watch_models(store: Store, mode: Literal["auto", "poll"]) -> None:
    """Refresh the store after every change, until cancelled. `poll` is for file systems that send no events.

    A folder that is away, or not there yet, takes nothing from memory; one put in its place is looked at and watched.
    """
    while True:
        place = await asyncio.to_thread(_inode, store.folder)
        try:
            if place:
                await _refresh(store)
                await _watch_folder(store, place, mode)
        except Exception as error:  # no events to be had, as where the system's limit of watches is reached
            reason = f"{type(error).__name__}: {error}"
            log.warning("model_watch_falls_back_to_polling", reason=reason)
            mode = "poll"
        await asyncio.sleep(1)


async def _watch_folder(store: Store, place: tuple[int, int], mode: Literal["auto", "poll"]) -> None:
    """Look after every change, until another folder, or none, is at the store's address."""
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
            standing = False
            async for changed in changes:
                if await asyncio.to_thread(_inode, store.folder) != place:
                    return
                if changed or not standing:  # what came after the last look and before the watch stood sends no event
                    await _refresh(store)
                standing = True
    except FileNotFoundError:  # it went between two looks
        return
    finally:
        stop.set()


async def _refresh(store: Store) -> None:
    try:
        if await store.refresh_async():
            log_models(store)
    except Exception:  # one bad look must not end the watch; what is loaded goes on serving
        log.exception("models_refresh_failed")


def _inode(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from one put in its place, by renaming or by a link; None where there is none."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def log_models(store: Store) -> None:
    """Log what is served and what was refused."""
    shelf = store.snapshot
    log.info("models_loaded", served={name: model.card.version for name, model in shelf.loaded.items()})
    for (name, version), (_, reason) in shelf.rejected.items():
        log.warning("model_rejected", model=name, version=version, reason=reason)

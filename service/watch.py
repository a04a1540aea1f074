"""Sees the models folder change and tells the store; knows neither models nor requests."""

import asyncio
from typing import Literal

import structlog
from watchfiles import awatch

from service.store import Store

log = structlog.get_logger()


async def watch(store: Store, how: Literal["auto", "poll"]) -> None:
    """Refresh the store after every change, until cancelled. `poll` is for file systems that send no events."""
    stop = asyncio.Event()
    try:
        async for _ in awatch(
            store.folder, force_polling=how == "poll" or None, debounce=200, step=50, rust_timeout=1000, stop_event=stop
        ):
            try:
                if await store.refresh_soon():
                    report(store)
            except Exception:  # one bad look must not end the watch; what is loaded goes on serving
                log.exception("the models folder could not be read")
    finally:
        stop.set()


def report(store: Store) -> None:
    """Log what is served and what was refused."""
    shelf = store.shelf
    log.info("models", served={name: model.card.version for name, model in shelf.loaded.items()})
    for (name, version), (_, reason) in shelf.refused.items():
        log.warning("model refused", model=name, version=version, reason=reason)

"""Watching the models folder: created late, replaced, unreadable, or without file events."""

import asyncio
import os
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from watchfiles import awatch

from service.errors import ModelNotFound
from service.repository.store import LoadOptions, Store
from service.repository.watcher import has_outside_links, watch_models
from service.runtime.providers import Device
from tests.support.compatibility import accepts
from tests.support.tiny_models import publish


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    """Yield a store with one valid version of digits."""
    folder = tmp_path / "models"
    publish(folder, "digits")
    with ThreadPoolExecutor(1) as pool:
        store = Store(folder, LoadOptions(Device(), 0, 8, pool, 1), max_old_versions=1)
        store.refresh()
        yield store
        store.close()


def served(store: Store) -> dict[str, int]:
    return {name: model.card.version for name, model in store.snapshot.loaded.items()}


async def until_served(store: Store, expected: dict[str, int]) -> None:
    for _ in range(1000):
        if served(store) == expected:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{served(store)} is served, not {expected}")


@pytest.mark.anyio
async def test_watching_continues_after_a_failed_refresh(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    good = store.refresh_async

    async def look() -> bool:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("the disk is away")
        return await good()

    monkeypatch.setattr(store, "refresh_async", look)
    watching = asyncio.create_task(watch_models(store, "auto"))
    version = 2
    while served(store) == {"digits": 1}:
        publish(store.folder, "digits", version=version)
        version += 1
        await asyncio.sleep(0.3)
    watching.cancel()
    assert len(looks) >= 2


@accepts(21, "a models folder that is created or replaced later", oracle="the loaded models", cases="{how}")
@pytest.mark.anyio
@pytest.mark.parametrize("how", ["auto", "poll"])
async def test_folder_created_or_replaced_later_is_watched(
    tmp_path: Path, store: Store, how: Literal["auto", "poll"]
) -> None:
    late = Store(tmp_path / "late", store.load_options, max_old_versions=0)
    watching = asyncio.create_task(watch_models(late, how))
    try:
        await asyncio.sleep(0.1)
        publish(late.folder, "digits")
        await until_served(late, {"digits": 1})
        publish(tmp_path / "next", "digits", version=2)
        late.folder.rename(tmp_path / "former")
        (tmp_path / "next").rename(late.folder)
        await until_served(late, {"digits": 2})
        publish(late.folder, "digits", version=3)
        await until_served(late, {"digits": 3})
    finally:
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        late.close()


@pytest.mark.anyio
async def test_change_just_before_watching_starts_is_loaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*places: Path, **options: Any) -> Any:
        publish(store.folder, "digits", version=2)  # after the first refresh, before the first snapshot of the watcher
        return awatch(*places, **options)

    monkeypatch.setattr("service.repository.watcher.awatch", late)
    watching = asyncio.create_task(watch_models(store, "poll"))
    await until_served(store, {"digits": 2})
    watching.cancel()


@accepts(
    21,
    "a link whose target in another folder is changed later",
    oracle="the loaded models",
    cases="the {linked}",
)
@pytest.mark.anyio
@pytest.mark.parametrize("linked", ["model", "version", "card"])
async def test_changed_target_of_a_link_is_noticed(tmp_path: Path, store: Store, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(store.folder / "digits", elsewhere / "digits")
    options = replace(store.load_options, link_dirs=(tmp_path,))
    inner = {"model": "digits", "version": "digits/1", "card": "digits/1/card.json"}[linked]
    folder = tmp_path / "linked"
    shutil.copytree(store.folder, folder)
    if (folder / inner).is_dir():
        shutil.rmtree(folder / inner)
    (folder / inner).unlink(missing_ok=True)
    (folder / inner).symlink_to(elsewhere / inner)
    card = elsewhere / "digits/1/card.json"
    good = card.read_bytes()
    card.write_bytes(b"{}")
    linking = Store(folder, options, max_old_versions=0)
    watching = asyncio.create_task(watch_models(linking, "auto"))
    try:
        for _ in range(500):
            if linking.snapshot.rejected:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # the events of the preparation
        card.write_bytes(good)
        await until_served(linking, {"digits": 1})
    finally:
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        linking.close()


@pytest.mark.parametrize(("target", "outside"), [("models/a", False), ("elsewhere", True), ("gone", True)])
def test_links_inside_the_folder_need_no_polling(tmp_path: Path, target: str, outside: bool) -> None:
    (tmp_path / "models/a/1").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    assert not has_outside_links(tmp_path / "models")
    (tmp_path / "models/b").symlink_to(tmp_path / target)
    assert has_outside_links(tmp_path / "models") == outside


@accepts(21, "a models folder that sends no events", oracle="the loaded models")
@pytest.mark.anyio
async def test_folder_without_events_is_polled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(*places: Path, force_polling: bool | None, **options: Any) -> Any:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return awatch(*places, force_polling=True, **options)

    monkeypatch.setattr("service.repository.watcher.awatch", limited)
    watching = asyncio.create_task(watch_models(store, "auto"))
    await asyncio.sleep(0.1)
    publish(store.folder, "digits", version=2)
    await until_served(store, {"digits": 2})
    watching.cancel()


@pytest.mark.parametrize("unreadable", [".", "digits"])
def test_unreadable_folder_keeps_loaded_models(store: Store, monkeypatch: pytest.MonkeyPatch, unreadable: str) -> None:
    def unless_forbidden(read: Callable[[Path], Any], folder: Path) -> Any:
        if Path(folder) == store.folder / unreadable:
            raise PermissionError(13, "Permission denied")
        return read(folder)

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, partial(unless_forbidden, getattr(os, name)))
    store.refresh()
    assert served(store) == {"digits": 1}
    assert asyncio.run(store.get("digits", None)) is store.snapshot.loaded["digits"]
    with pytest.raises(ModelNotFound):
        asyncio.run(store.get("points", None))
    monkeypatch.undo()
    publish(store.folder, "digits", version=2)
    store.refresh()
    assert served(store) == {"digits": 2}

"""The models folder while serving: valid versions are served, invalid ones rejected with a reason."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import pytest

from service.config import Settings
from service.errors import ModelRejected
from service.repository.loader import load_runner
from service.repository.store import LoadOptions, Store
from service.runtime.providers import Device
from service.types import LoadResult
from tests.conftest import digit, listening, png
from tests.support.corrupt_models import BAD, flip
from tests.support.tiny_models import SIDE, publish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Yield a store with one valid version of digits."""
    publish(tmp_path, "digits")
    loading = LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1)
    store = Store(tmp_path, loading, max_old_versions=1)
    store.refresh()
    return store


def served(store: Store) -> dict[str, int]:
    return {name: model.card.version for name, model in store.snapshot.loaded.items()}


@pytest.mark.parametrize("case", BAD)
def test_bad_version_is_rejected_and_the_old_one_serves(store: Store, case: str) -> None:
    spoil, reason = BAD[case]
    spoil(publish(store.folder, "digits", version=2))
    before = store.snapshot.loaded["digits"]
    assert store.refresh()
    assert store.snapshot.loaded["digits"] is before
    assert reason in store.snapshot.rejected["digits", 2].reason
    assert "\n" not in store.snapshot.rejected["digits", 2].reason
    assert not store.refresh()  # a second refresh loads nothing


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large")])
def test_exception_of_one_version_rejects_only_that_version(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(folder: Path, *rest: Any) -> Any:
        if folder.parent.name == "photos":
            raise error
        return load_runner(folder, *rest)

    monkeypatch.setattr("service.repository.version_loader.load_runner", fail)
    publish(store.folder, "photos")
    publish(store.folder, "points")
    store.refresh()
    assert served(store) == {"digits": 1, "points": 1}
    assert store.snapshot.rejected["photos", 1].reason == f"the version cannot be loaded: {type(error).__name__}"


@pytest.mark.anyio
async def test_concurrent_refreshes_load_a_version_once(store: Store) -> None:
    publish(store.folder, "digits", version=2)
    assert sorted(await asyncio.gather(store.refresh_async(), store.refresh_async())) == [False, True]
    assert served(store) == {"digits": 2}


@pytest.mark.anyio
async def test_request_for_rejected_version_states_the_reason(store: Store) -> None:
    flip(publish(store.folder, "digits", version=2) / "encode.onnx")
    store.refresh()
    with pytest.raises(ModelRejected, match="SHA-256"):
        await store.get("digits", 2)


def test_repaired_version_is_loaded(store: Store) -> None:
    folder = publish(store.folder, "digits", version=2)
    good = (folder / "encode.onnx").read_bytes()
    flip(folder / "encode.onnx")
    store.refresh()
    (folder / "encode.onnx").write_bytes(good)
    store.refresh()
    assert served(store) == {"digits": 2}
    assert not store.snapshot.rejected


def test_loaded_version_ignores_changes_on_disk(store: Store) -> None:
    flip(store.folder / "digits/1/encode.onnx")
    before = store.snapshot.loaded["digits"]
    store.refresh()
    assert store.snapshot.loaded["digits"] is before
    assert served(store) == {"digits": 1}
    assert "SHA-256" in store.snapshot.rejected["digits", 1].reason


def test_removed_models_disappear_and_versions_fall_back(store: Store) -> None:
    publish(store.folder, "digits", version=2)
    publish(store.folder, "photos")
    store.refresh()
    assert served(store) == {"digits": 2, "photos": 1}
    shutil.rmtree(store.folder / "digits/2")
    shutil.rmtree(store.folder / "photos")
    store.refresh()
    assert served(store) == {"digits": 1}


@pytest.mark.anyio
async def test_old_versions_are_loaded_on_demand_up_to_the_limit(store: Store) -> None:
    for version in (2, 3):
        publish(store.folder, "digits", version=version)
    store.refresh()
    first = await store.get("digits", 1)
    assert first.card.version == 1
    assert await store.get("digits", 1) is first
    await store.get("digits", 2)  # one old version is kept: the first is unloaded
    assert await store.get("digits", 1) is not first


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/1",
        "digits/.tmp-2",
        "digits/2.part",
        "digits/02x",
        "digits/new",
        "digits/1\u0663",
        "Digits/1",
        "digits/0",
    ],
)
def test_other_folder_entries_are_ignored(store: Store, name: str) -> None:
    (store.folder / name).mkdir(parents=True)
    store.refresh()
    assert served(store) == {"digits": 1}
    assert not store.snapshot.rejected


def wait_until(fact: Callable[[], bool], seconds: float = 20) -> None:
    end = monotonic() + seconds
    while not fact():
        assert monotonic() < end, "the condition was not met in time"
        sleep(0.02)


@pytest.mark.parametrize("how", ["auto", "poll"])
def test_folder_change_under_load_loses_no_request(tmp_path: Path, how: str) -> None:
    publish(tmp_path, "digits")
    settings = Settings.model_validate({"models_dir": tmp_path, "default_denoise": "digits", "model_watch": how})
    seen: list[tuple[int, str]] = []
    wrong: list[Any] = []
    stop = threading.Event()

    def ask(address: str, seed: int) -> None:
        picture, expected = png(digit(seed)), 255 - digit(seed)
        with httpx2.Client(base_url=address) as client:
            while not stop.is_set():
                answer = client.post("/denoise?format=npy", content=picture)
                if answer.status_code != 200 or answer.content[-SIDE * SIDE :] != expected.tobytes():
                    wrong.append(answer)
                seen.append((answer.status_code, answer.headers.get("x-model-version", "")))

    with listening(settings) as address, ThreadPoolExecutor(3) as callers:
        asking = [callers.submit(ask, address, seed) for seed in range(3)]
        try:
            publish(tmp_path, "digits", version=2)
            wait_until(lambda: (200, "2") in seen)
            flip(publish(tmp_path, "digits", version=3) / "denoise.onnx")
            wait_until(lambda: bool(httpx2.get(f"{address}/models").json()["rejected"]))
            shutil.rmtree(tmp_path / "digits/2")
            mark = len(seen)
            wait_until(lambda: (200, "1") in seen[mark:])
        finally:
            stop.set()
    assert all(future.exception() is None for future in asking)
    assert not wrong
    assert {version for _, version in seen} == {"1", "2"}


def test_attempts_to_load_are_reported_by_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *rest: Any) -> Any:
        if folder.parent.name == "photos":
            raise MemoryError
        return load_runner(folder, *rest)

    monkeypatch.setattr("service.repository.version_loader.load_runner", fail)
    for kind in ("digits", "photos", "points"):
        publish(tmp_path, kind)
    BAD[next(iter(BAD))][0](tmp_path / "points" / "1")
    results: dict[str, LoadResult] = {}
    seconds: list[float] = []

    def on_load(name: str, result: LoadResult, duration: float) -> None:
        results[name] = result
        seconds.append(duration)

    with ThreadPoolExecutor(1) as pool:
        store = Store(tmp_path, LoadOptions(Device(), 0, 8, pool, 1), max_old_versions=1, on_load=on_load)
        store.refresh()
        store.refresh()  # nothing has changed: no further attempt
    assert results == {"digits": "loaded", "photos": "failed", "points": "rejected"}
    assert len(seconds) == 3
    assert min(seconds) > 0

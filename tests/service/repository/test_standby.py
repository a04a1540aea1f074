"""Models that are not in memory: those that wait at the start, and those that the memory budget has unloaded."""

import asyncio
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import ModelRejected
from service.repository.model_metrics import model_metrics
from service.repository.open_inference import repository_index, served_names
from service.repository.residency import GRAPH_BYTES, model_bytes
from service.repository.store import LoadOptions, Store
from service.runtime.providers import Device
from tests.conftest import Serve, digit, png
from tests.support.tiny_models import publish

NAMES = [f"m{number}" for number in range(6)]
NO_DEFAULTS = Settings()
M0_BY_DEFAULT = Settings.model_validate(
    {f"default_{name}": "m0" for name in ("encode", "decode", "reconstruct", "denoise")}
)
StoreMaker = Callable[..., Store]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six small models, which tests must not change."""
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        publish(folder, "digits", name=name)
    return folder


@pytest.fixture
def make(folder: Path) -> StoreMaker:
    """Return a function that creates a store with room for so many models."""

    def make(models: int = 0, where: Path = folder) -> Store:
        options = LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1)
        return Store(where, options, max_old_versions=1, memory_budget=models * bytes_of_one(folder))

    return make


def bytes_of_one(folder: Path) -> int:
    """Return the estimated bytes of one of the models."""
    store = Store(folder, LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1), max_old_versions=0)
    store.refresh(lazy=True)
    model = asyncio.run(store.get("m0", None))
    size = model_bytes(store.snapshot.fingerprints["m0"], model)
    assert size > GRAPH_BYTES * len(model.runners)
    return size


def states(store: Store) -> dict[str, str]:
    """Return the state of every model by name."""
    snapshot = store.snapshot
    pending = {name: "pending" if entry.pending else "on demand" for name, entry in snapshot.standby.items()}
    return dict.fromkeys(snapshot.loaded, "loaded") | pending


def test_only_default_models_are_loaded_at_first(make: StoreMaker) -> None:
    store = make()
    store.load_defaults(M0_BY_DEFAULT)
    assert states(store) == {"m0": "loaded", **dict.fromkeys(NAMES[1:], "pending")}
    asyncio.run(store.load_pending())
    assert states(store) == dict.fromkeys(NAMES, "loaded")


def test_pending_model_is_loaded_by_a_request(make: StoreMaker) -> None:
    store = make()
    store.load_defaults(M0_BY_DEFAULT)
    assert asyncio.run(store.get("m3", None)).card.name == "m3"
    assert [name for name, state in states(store).items() if state == "loaded"] == ["m0", "m3"]


def test_refresh_leaves_pending_models_pending(make: StoreMaker) -> None:
    store = make()
    store.load_defaults(M0_BY_DEFAULT)
    assert not store.refresh()
    assert states(store)["m5"] == "pending"


def test_without_a_default_all_cards_are_read(make: StoreMaker) -> None:
    store = make()
    store.load_defaults(NO_DEFAULTS)
    assert store.models_for("denoise") == NAMES
    assert served_names(store) == [f"{name}.{each}" for name in NAMES for each in sorted(store.operations(name))]


def test_lone_model_is_loaded_as_the_default(make: StoreMaker, tmp_path: Path) -> None:
    publish(tmp_path, "digits", name="alone")
    store = make(where=tmp_path)
    store.load_defaults(NO_DEFAULTS)
    assert states(store) == {"alone": "loaded"}


def test_least_recently_used_model_is_unloaded(make: StoreMaker) -> None:
    store = make(3)
    store.load_defaults(M0_BY_DEFAULT)

    async def use() -> None:
        await store.load_pending()
        for name in ("m1", "m2", "m1", "m4"):
            await store.get(name, None)

    asyncio.run(use())
    loaded = sorted(name for name, state in states(store).items() if state == "loaded")
    assert loaded == ["m0", "m1", "m4"]  # the default, and the last two that were used
    assert "pending" not in states(store).values()


def test_start_loads_no_more_than_the_budget(make: StoreMaker) -> None:
    store = make(2)
    store.load_defaults(M0_BY_DEFAULT)
    asyncio.run(store.load_pending())
    assert list(states(store).values()).count("loaded") == 2
    assert store.models_for("decode") == NAMES  # the cards of the others were read


def test_new_models_are_loaded_as_far_as_they_fit(make: StoreMaker, tmp_path: Path) -> None:
    publish(tmp_path, "digits", name="m0")
    store = make(2, tmp_path)
    store.load_defaults(M0_BY_DEFAULT)
    for name in NAMES[1:]:
        publish(tmp_path, "digits", name=name)
    assert store.refresh()
    assert sorted(states(store).values()) == ["loaded", "loaded", *["on demand"] * 4]
    publish(tmp_path, "digits", name="m0", version=2)
    assert store.refresh()
    assert store.snapshot.loaded["m0"].card.version == 2


def test_default_that_is_added_later_stays_in_memory(make: StoreMaker, tmp_path: Path) -> None:
    store = make(2, tmp_path)
    store.load_defaults(M0_BY_DEFAULT)
    for name in NAMES:
        publish(tmp_path, "digits", name=name)
    store.refresh()

    async def use() -> None:
        for name in NAMES:
            await store.get(name, None)

    asyncio.run(use())
    assert sorted(name for name, state in states(store).items() if state == "loaded") == ["m0", "m5"]


def test_request_loads_the_new_version_on_demand(make: StoreMaker, tmp_path: Path) -> None:
    for name in NAMES[:3]:
        publish(tmp_path, "digits", name=name)
    store = make(1, tmp_path)
    store.load_defaults(M0_BY_DEFAULT)
    asyncio.run(store.load_pending())
    publish(tmp_path, "digits", name="m1", version=2)
    (publish(tmp_path, "digits", name="m2", version=2) / "denoise.onnx").write_bytes(b"")
    store.refresh()
    assert states(store) == {"m0": "loaded", "m1": "on demand", "m2": "on demand"}
    assert asyncio.run(store.get("m1", None)).card.version == 2
    assert asyncio.run(store.get("m2", None)).card.version == 1  # the new version does not have its hash
    assert ("m2", 2) in store.snapshot.rejected


def test_index_says_how_each_model_can_be_had(make: StoreMaker) -> None:
    store = make(2)
    store.load_defaults(M0_BY_DEFAULT)
    store.read_cards()
    index = {entry["name"]: entry["state"] for entry in repository_index(store, ready_only=False)}
    assert (index["m0.encode"], index["m5.encode"]) == ("READY", "LOADING")
    asyncio.run(store.load_pending())
    entries = {entry["name"]: entry for entry in repository_index(store, ready_only=False)}
    assert entries["m5.encode"]["state"] == "UNAVAILABLE"
    assert "a request for this model loads it" in entries["m5.encode"]["reason"]


def test_card_of_a_model_on_demand_is_shown_without_loading(make: StoreMaker) -> None:
    store = make(1)
    store.load_defaults(M0_BY_DEFAULT)
    asyncio.run(store.load_pending())
    assert asyncio.run(store.card("m4")).name == "m4"
    assert states(store)["m4"] == "on demand"
    series = next(model_metrics(store)).samples
    assert {sample.labels["model"]: sample.value for sample in series} == {"m0": 1, **dict.fromkeys(NAMES[1:], 0)}


def test_version_that_broke_on_standby_is_rejected(make: StoreMaker, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    store = make(1, tmp_path / "copy")
    store.load_defaults(M0_BY_DEFAULT)
    asyncio.run(store.load_pending())
    (tmp_path / "copy/m4/1/encode.onnx").write_bytes(b"")
    with pytest.raises(ModelRejected, match="SHA-256"):
        asyncio.run(store.get("m4", None))
    assert "m4" not in states(store)
    store.refresh()
    assert asyncio.run(store.get("m1", None)).card.name == "m1"


def test_model_whose_files_are_gone_stays_in_memory(make: StoreMaker, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    store = make(2, tmp_path / "copy")
    store.load_defaults(M0_BY_DEFAULT)
    asyncio.run(store.load_pending())
    (tmp_path / "copy/m1/1/card.json").write_bytes(b"{}")  # m1 serves on from memory, and could not be loaded again
    store.refresh()

    async def use() -> None:
        for name in ("m2", "m3"):
            await store.get(name, None)

    asyncio.run(use())
    assert states(store)["m1"] == "loaded"


def test_callers_of_many_models_with_room_for_two(serve: Serve, folder: Path) -> None:
    budget = max(1, 2 * bytes_of_one(folder) >> 20)
    client = serve(models_dir=folder, default_denoise="m0", default_encode="m0", model_memory_mib=budget)
    body = png(digit())
    expected = client.post("/denoise?model=m0", content=body).content
    chosen = random.Random(0).choices(NAMES, k=120)  # noqa: S311 - an order of names

    def ask(name: str) -> tuple[int, str, bytes]:
        answer = client.post(f"/denoise?model={name}", content=body)
        return answer.status_code, answer.headers["x-model"], answer.content

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, chosen))
    assert answers == [(200, name, expected) for name in chosen]
    listed = client.get("/models").json()["models"]
    assert [model["name"] for model in listed] == NAMES
    assert listed[0]["state"] == "loaded"
    assert 1 <= sum(model["state"] == "loaded" for model in listed) <= 3
    assert all(model["operations"] and bool(model["execution"]) == (model["state"] == "loaded") for model in listed)

"""The models folder while serving: what is good is served, what is bad is refused with its reason, nothing is lost."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import pytest

from service.card import CARD_FILE
from service.config import Settings
from service.errors import ModelRefused
from service.store import Loading, Store
from tests.conftest import digit, listening, png
from tests.tiny import SIDE, graph, node, publish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of one good version of digits."""
    publish(tmp_path, "digits")
    loading = Loading("cpu", 0, 8, ThreadPoolExecutor(1), 1)
    store = Store(tmp_path, loading, old_versions=1)
    store.refresh()
    return store


def served(store: Store) -> dict[str, int]:
    return {name: model.card.version for name, model in store.shelf.loaded.items()}


def rewrite(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(card | changes))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_graph(folder: Path) -> None:
    """A good graph of other sides, its hash in the card."""
    import hashlib

    data = graph(
        [node("BitwiseNot", "image", "out")],
        ("image", (2, ["n", SIDE, SIDE + 1, 1])),
        ("out", (2, ["n", SIDE, SIDE + 1, 1])),
    )
    (folder / "denoise.onnx").write_bytes(data)
    card = json.loads((folder / CARD_FILE).read_text())
    card["graphs"][3]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / CARD_FILE).write_text(json.dumps(card))


def wrong_probe(folder: Path) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    card["graphs"][3]["probe"]["output"] = card["graphs"][3]["probe"]["input"]
    (folder / CARD_FILE).write_text(json.dumps(card))


def replace_by_link(folder: Path) -> None:
    (folder / "encode.onnx").unlink()
    (folder / "encode.onnx").symlink_to("/etc/passwd")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flipped": (lambda folder: flip(folder / "encode.onnx"), "SHA-256"),
    "graph missing": (lambda folder: (folder / "encode.onnx").unlink(), "cannot be opened"),
    "graph empty": (lambda folder: (folder / "encode.onnx").write_bytes(b""), "SHA-256"),
    "graph a link": (replace_by_link, "cannot be opened"),
    "card missing": (lambda folder: (folder / CARD_FILE).unlink(), "card.json cannot be opened"),
    "card cut": (lambda folder: (folder / CARD_FILE).write_bytes((folder / CARD_FILE).read_bytes()[:99]), "card.json"),
    "card not UTF-8": (lambda folder: (folder / CARD_FILE).write_bytes(b"\xff\xfe"), "card.json"),
    "card of depth 100000": (lambda folder: (folder / CARD_FILE).write_bytes(b"[" * 100_000), "card.json"),
    "unknown field": (lambda folder: rewrite(folder, colour="red"), "colour"),
    "future format": (lambda folder: rewrite(folder, format=2), "format"),
    "card of another": (lambda folder: rewrite(folder, name="other"), "the card is of other"),
    "lying shape": (other_graph, "the card says"),
    "wrong probe": (wrong_probe, "does not reproduce its probe"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_version_is_refused_with_its_reason_and_the_old_one_serves(store: Store, case: str) -> None:
    spoil, reason = BAD[case]
    spoil(publish(store.folder, "digits", version=2))
    before = store.shelf.loaded["digits"]
    assert store.refresh()
    assert store.shelf.loaded["digits"] is before
    assert reason in store.shelf.refused["digits", 2][1]
    assert not store.refresh()  # a second look finds nothing new


@pytest.mark.anyio
async def test_asked_for_by_number_a_refused_version_says_why(store: Store) -> None:
    flip(publish(store.folder, "digits", version=2) / "encode.onnx")
    store.refresh()
    with pytest.raises(ModelRefused, match="SHA-256"):
        await store.get("digits", 2)


def test_a_mended_version_is_taken(store: Store) -> None:
    folder = publish(store.folder, "digits", version=2)
    good = (folder / "encode.onnx").read_bytes()
    flip(folder / "encode.onnx")
    store.refresh()
    (folder / "encode.onnx").write_bytes(good)
    store.refresh()
    assert served(store) == {"digits": 2}
    assert not store.shelf.refused


def test_a_served_version_tampered_with_goes_on_as_it_was_loaded(store: Store) -> None:
    flip(store.folder / "digits/1/encode.onnx")
    store.refresh()
    assert served(store) == {"digits": 1}
    assert "SHA-256" in store.shelf.refused["digits", 1][1]


def test_removed_models_are_gone_and_removed_versions_fall_back(store: Store) -> None:
    publish(store.folder, "digits", version=2)
    publish(store.folder, "photos")
    store.refresh()
    assert served(store) == {"digits": 2, "photos": 1}
    shutil.rmtree(store.folder / "digits/2")
    shutil.rmtree(store.folder / "photos")
    store.refresh()
    assert served(store) == {"digits": 1}


@pytest.mark.anyio
async def test_older_versions_are_loaded_when_asked_for_and_kept_in_bounds(store: Store) -> None:
    for version in (2, 3):
        publish(store.folder, "digits", version=version)
    store.refresh()
    first = await store.get("digits", 1)
    assert first.card.version == 1
    assert await store.get("digits", 1) is first
    await store.get("digits", 2)  # one older version is kept: the first is let go
    assert await store.get("digits", 1) is not first


@pytest.mark.parametrize("name", [".hidden/1", "digits/.tmp-2", "digits/02x", "digits/new", "Digits/1", "digits/0"])
def test_other_entries_of_the_folder_are_passed_over(store: Store, name: str) -> None:
    (store.folder / name).mkdir(parents=True)
    store.refresh()
    assert served(store) == {"digits": 1}
    assert not store.shelf.refused


def wait_until(fact: Callable[[], bool], seconds: float = 20) -> None:
    end = monotonic() + seconds
    while not fact():
        assert monotonic() < end, "it never came to pass"
        sleep(0.02)


@pytest.mark.parametrize("how", ["auto", "poll"])
def test_a_folder_changed_under_load_loses_no_request(tmp_path: Path, how: str) -> None:
    publish(tmp_path, "digits")
    settings = Settings.model_validate({"models": tmp_path, "default_denoise": "digits", "watch": how})
    seen: list[tuple[int, str]] = []
    wrong: list[Any] = []
    stop = threading.Event()

    def ask(address: str, seed: int) -> None:
        picture, wanted = png(digit(seed)), 255 - digit(seed)
        with httpx2.Client(base_url=address) as client:
            while not stop.is_set():
                answer = client.post("/denoise?format=npy", content=picture)
                if answer.status_code != 200 or answer.content[-SIDE * SIDE :] != wanted.tobytes():
                    wrong.append(answer)
                seen.append((answer.status_code, answer.headers.get("x-model-version", "")))

    with listening(settings) as address, ThreadPoolExecutor(3) as callers:
        asking = [callers.submit(ask, address, seed) for seed in range(3)]
        try:
            publish(tmp_path, "digits", version=2)
            wait_until(lambda: (200, "2") in seen)
            flip(publish(tmp_path, "digits", version=3) / "denoise.onnx")
            wait_until(lambda: bool(httpx2.get(f"{address}/models").json()["refused"]))
            shutil.rmtree(tmp_path / "digits/2")
            mark = len(seen)
            wait_until(lambda: (200, "1") in seen[mark:])
        finally:
            stop.set()
    assert all(future.exception() is None for future in asking)
    assert not wrong
    assert {version for _, version in seen} == {"1", "2"}

"""Pins, defaults with a version, and shares of a candidate, in the store and under load."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.config import Settings
from service.repository.pins import PIN_FILE, Pin, write_pin
from service.repository.store import LoadOptions, Store
from service.runtime.providers import Device
from tests.conftest import digit, listening, png
from tests.support.tiny_models import publish


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a models folder with digits 1 to 3."""
    for version in (1, 2, 3):
        publish(tmp_path, "digits", version=version)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Store:
    """Return a store of that folder."""
    store = Store(folder, LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1), max_old_versions=1)
    store.refresh()
    return store


def served(store: Store) -> int:
    return store.snapshot.loaded["digits"].card.version


def test_pinned_version_serves_until_it_is_unpinned(store: Store) -> None:
    write_pin(store.folder / "digits", Pin(version=2))
    assert store.refresh()
    assert served(store) == 2
    publish(store.folder, "digits", version=4)
    store.refresh()
    assert served(store) == 2
    write_pin(store.folder / "digits", None)
    store.refresh()
    assert served(store) == 4


def test_invalid_pin_changes_nothing(store: Store) -> None:
    write_pin(store.folder / "digits", Pin(version=2))
    store.refresh()
    (store.folder / "digits" / PIN_FILE).write_text('{"version": "1"}')
    store.refresh()
    assert served(store) == 2


def test_pin_of_a_missing_version_keeps_what_serves(store: Store) -> None:
    write_pin(store.folder / "digits", Pin(version=9))
    store.refresh()
    assert served(store) == 3


def test_candidate_gets_exactly_its_share(store: Store) -> None:
    write_pin(store.folder / "digits", Pin(version=1, candidate=3, percent=12.5))
    store.refresh()
    assert Counter(store.choose_version("digits") for _ in range(800)) == {None: 700, 3: 100}


def test_default_may_name_a_version(folder: Path) -> None:
    settings = Settings(models_dir=folder, default_encode="digits@2", model_watch="off")
    with listening(settings) as base:
        body, headers = png(digit()), {"content-type": "image/png"}
        answers = [httpx2.post(base + path, content=body, headers=headers) for path in ("/encode", "/encode?version=3")]
    assert [answer.json()["version"] for answer in answers] == [2, 3]


def test_rollback_under_load_loses_no_request(folder: Path) -> None:
    """Clients send without a pause while versions are shared, rolled back and unpinned."""
    answers: list[tuple[int, int]] = []
    stop = threading.Event()
    settings = Settings(models_dir=folder, default_encode="digits")

    def send(base: str) -> None:
        with httpx2.Client(base_url=base) as client:
            while not stop.is_set():
                answer = client.post("/encode", content=png(digit()), headers={"content-type": "image/png"})
                answers.append((answer.status_code, answer.json().get("version")))

    def wait_for(versions: set[int]) -> None:
        seen: set[int] = set()
        start = len(answers)
        while seen != versions:
            seen = {version for _, version in answers[start:][-40:]}
            assert len(answers) < start + 200_000

    with listening(settings) as base:
        threads = [threading.Thread(target=send, args=(base,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for({3})
            write_pin(folder / "digits", Pin(version=2, candidate=3, percent=20))
            wait_for({2, 3})
            write_pin(folder / "digits", Pin(version=2))
            wait_for({2})
            write_pin(folder / "digits", None)
            wait_for({3})
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        metrics = httpx2.get(base + "/metrics").text
    assert {status for status, _ in answers} == {200}
    for version, number in Counter(version for _, version in answers).items():
        labels = f'model="digits",operation="encode",outcome="success",version="{version}"'
        assert f"hourglass_model_request_duration_seconds_count{{{labels}}} {float(number)}" in metrics or any(
            line.startswith("hourglass_model_request_duration_seconds_count")
            and f'version="{version}"' in line
            and line.endswith(f" {float(number)}")
            for line in metrics.splitlines()
        )


@pytest.mark.parametrize("value", ["digits@", "digits@0", "digits@x", "@2", "a@1@2"])
def test_default_with_an_invalid_version_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="NAME@VERSION"):
        Settings(default_encode=value)

"""Copies of remote models folders: what is placed, refused and kept, on web servers and the Hugging Face Hub."""

import asyncio
import base64
import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.config import Settings
from service.repository.hub import source
from service.repository.hub.errors import HubUnavailable
from service.repository.hub.listing import RemoteFile
from service.repository.hub.mirror import Changes, Mirror
from service.repository.hub.transfer import parse_listing, write_index
from service.repository.signatures import sign_card
from tests.conftest import listening
from tests.support.corrupt_models import flip
from tests.support.remote_models import WebFolder, web_server
from tests.support.tiny_models import publish

KINDS = ("web", "hub")


@pytest.fixture
def web(tmp_path: Path) -> Generator[WebFolder]:
    """Yield a web server with digits 1 and points 1."""
    folder = tmp_path / "remote"
    publish(folder, "digits")
    publish(folder, "points")
    write_index(folder)
    with web_server(WebFolder(folder)) as server:
        yield server


def address(web: WebFolder, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    return f"{web.address}/static" if kind == "web" else "hf://owner/repo"


@pytest.fixture(params=KINDS)
def mirror(request: pytest.FixtureRequest, web: WebFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """Return an empty copy of the folder on the server."""
    return new_mirror(address(web, request.param, monkeypatch), tmp_path)


def new_mirror(place: str, tmp_path: Path, max_bytes: int = 1 << 30, keys: tuple[bytes, ...] = ()) -> Mirror:
    mirror = Mirror(place, tmp_path / "copy", max_bytes, keys)
    assert mirror.prepare()
    return mirror


def update(mirror: Mirror) -> Changes:
    return asyncio.run(mirror.update())


def placed(mirror: Mirror) -> set[str]:
    return {file.parent.relative_to(mirror.folder).as_posix() for file in mirror.folder.glob("*/*/card.json")}


def republish(web: WebFolder, kind: str, version: int) -> Path:
    folder = publish(web.folder, kind, version=version)
    write_index(web.folder)
    return folder


def test_all_versions_are_placed_byte_by_byte(mirror: Mirror, web: WebFolder) -> None:
    assert sorted(update(mirror).pulled) == [("digits", 1), ("points", 1)]
    for file in web.folder.glob("*/*/*.onnx"):
        assert (mirror.folder / file.relative_to(web.folder)).read_bytes() == file.read_bytes()
    assert not list((mirror.folder / ".parts").iterdir())


def test_second_update_reads_only_the_listing(mirror: Mirror, web: WebFolder) -> None:
    update(mirror)
    web.requests.clear()
    assert not update(mirror).any
    assert len(web.requests) == 1


def test_new_version_is_pulled_and_removed_one_dropped(mirror: Mirror, web: WebFolder) -> None:
    update(mirror)
    republish(web, "digits", 2)
    assert update(mirror).pulled == [("digits", 2)]
    for file in (web.folder / "digits/2").iterdir():
        file.unlink()
    write_index(web.folder)
    assert update(mirror).removed == [("digits", 2)]
    assert placed(mirror) == {"digits/1", "points/1"}


def test_altered_graph_is_refused_and_not_read_again(mirror: Mirror, web: WebFolder) -> None:
    flip(republish(web, "digits", 2) / "encode.onnx")
    write_index(web.folder)
    assert "SHA-256" in update(mirror).refused["digits", 2]
    web.requests.clear()
    assert "SHA-256" in update(mirror).refused["digits", 2]
    assert len(web.requests) == 1
    assert placed(mirror) == {"digits/1", "points/1"}


def test_half_an_object_is_not_placed_and_tried_again(mirror: Mirror, web: WebFolder) -> None:
    web.faults["digits/1/encode.onnx"] = "half"
    changes = update(mirror)
    assert "digits/1/encode.onnx" in (changes.failure or "")
    assert placed(mirror) == {"points/1"}
    web.faults.clear()
    assert update(mirror).pulled == [("digits", 1)]


def test_slow_object_ends_and_others_are_placed(
    mirror: Mirror, web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(source, "CHUNK_BYTES", 1024)
    web.faults["digits/1/card.json"] = "slow"
    assert "digits/1/card.json" in (update(mirror).failure or "")
    assert placed(mirror) == {"points/1"}


def test_lost_source_keeps_the_copy(mirror: Mirror, web: WebFolder) -> None:
    update(mirror)
    web.gone = True
    with pytest.raises(HubUnavailable):
        update(mirror)
    assert placed(mirror) == {"digits/1", "points/1"}


def test_emptied_source_keeps_the_copy(mirror: Mirror, web: WebFolder) -> None:
    update(mirror)
    for card in web.folder.glob("*/*/card.json"):
        card.unlink()
    write_index(web.folder)
    with pytest.raises(HubUnavailable, match="holds no"):
        update(mirror)
    assert placed(mirror) == {"digits/1", "points/1"}


def test_copy_stays_within_its_bytes(mirror: Mirror, web: WebFolder, tmp_path: Path) -> None:
    small = Mirror(mirror.address, tmp_path / "small", 20_000)
    (web.folder / "points/1/big.onnx").write_bytes(bytes(30_000))
    card = json.loads((web.folder / "points/1/card.json").read_bytes())
    card["graphs"][0]["file"] = "big.onnx"
    (web.folder / "points/1/card.json").write_text(json.dumps(card))
    write_index(web.folder)
    small.prepare()
    assert "room" in update(small).refused["points", 1]
    size = sum(file.stat().st_size for file in small.folder.rglob("*") if file.is_file())
    assert size <= 20_000


def test_old_version_gives_its_room_to_a_new_one(web: WebFolder, tmp_path: Path) -> None:
    republish(web, "digits", 2)
    size = sum(file.stat().st_size for file in (web.folder / "digits/1").iterdir())
    points = sum(file.stat().st_size for file in (web.folder / "points/1").iterdir())
    mirror = new_mirror(f"{web.address}/static", tmp_path, 2 * size + points + 100)
    update(mirror)
    republish(web, "digits", 3)
    update(mirror)
    assert placed(mirror) == {"digits/2", "digits/3", "points/1"}


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/1/card.json",
        "digits/../card.json",
        "/digits/1/card.json",
        "digits/1/../../card.json",
        "digits/01/card.json",
        "digits/9999999999/card.json",
        "Digits/1/card.json",
        "digits\n/1/card.json",
        "digits/1\n/card.json",
        ".parts/1/card.json",
        "digits/1/card.json/x",
    ],
)
def test_paths_that_are_no_versions_are_ignored(path: str) -> None:
    assert parse_listing({path: RemoteFile(1, "")}) == []


def test_graph_outside_its_folder_is_refused(mirror: Mirror, web: WebFolder) -> None:
    card = web.folder / "digits/1/card.json"
    card.write_text(card.read_text().replace("encode.onnx", "../../../x.onnx"))
    write_index(web.folder)
    assert "graphs" in update(mirror).refused["digits", 1]
    assert not list(mirror.folder.rglob("x.onnx"))


def test_listing_of_too_many_files_is_refused(web: WebFolder, tmp_path: Path) -> None:
    entry = {"size": 1, "sha256": "0" * 64}
    (web.folder / "index.json").write_text(json.dumps({"files": {f"a/{at}/card.json": entry for at in range(10_001)}}))
    mirror = new_mirror(f"{web.address}/static", tmp_path)
    with pytest.raises(HubUnavailable, match="index"):
        update(mirror)
    (web.folder / "index.json").write_bytes(bytes(9 << 20))
    with pytest.raises(HubUnavailable, match="room"):
        update(mirror)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a private key in PEM."""
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path / "key.pem"


def test_unsigned_and_altered_versions_are_refused(mirror: Mirror, web: WebFolder, key_file: Path) -> None:
    public = base64.b64decode(sign_card(web.folder / "digits/1", key_file))
    altered = republish(web, "digits", 2)
    sign_card(altered, key_file)
    card = (altered / "card.json").read_text()
    (altered / "card.json").write_text(card.replace("Tiny digits", "Other digits"))
    assert (altered / "card.json").read_text() != card
    write_index(web.folder)
    trusting = Mirror(mirror.address, mirror.folder, 1 << 30, (public,))
    changes = update(trusting)
    assert changes.pulled == [("digits", 1)]
    assert "sign the version" in changes.refused["points", 1]
    assert "was not made" in changes.refused["digits", 2]


def test_only_one_process_updates_a_copy(mirror: Mirror) -> None:
    second = Mirror(mirror.address, mirror.folder, 1 << 30)
    assert not second.prepare()
    mirror.close()
    assert second.prepare()
    second.close()


def test_service_serves_what_was_pulled_and_keeps_it(web: WebFolder, tmp_path: Path) -> None:
    import httpx2

    settings = Settings.model_validate(
        {"models_dir": f"{web.address}/static", "model_cache_dir": tmp_path / "cache", "model_poll_seconds": 0.05}
    )
    with listening(settings) as base, httpx2.Client(base_url=base) as client:

        def versions() -> dict[str, int]:
            return {model["name"]: model["version"] for model in client.get("/models").json()["models"]}

        def wait_for(expected: dict[str, int]) -> None:
            deadline = asyncio.new_event_loop()
            start = deadline.time()
            while versions() != expected:
                assert deadline.time() < start + 20
            deadline.close()

        wait_for({"digits": 1, "points": 1})
        republish(web, "digits", 2)
        wait_for({"digits": 2, "points": 1})
        web.gone = True
        before = len(web.requests)
        while len(web.requests) < before + 3:
            assert client.get("/readyz").status_code == 200
        assert versions() == {"digits": 2, "points": 1}


def test_cards_of_links_are_texts_without_effect(mirror: Mirror, web: WebFolder) -> None:
    (web.folder / "digits/1/card.json").write_text("/etc/passwd")  # a link in git, as hubs send it
    write_index(web.folder)
    assert "card.json" in update(mirror).refused["digits", 1]
    assert not os.path.lexists(mirror.folder / "digits/1")

"""Models in buckets, on servers of the APIs of S3, Google Cloud Storage and Azure: pushed, pulled, pinned and lost."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx2
import pytest

from service.cli import models as commands
from service.config import Settings
from service.repository.hub import source
from service.repository.hub.errors import HubUnavailable
from service.repository.hub.mirror import Changes, Mirror
from tests.conftest import listening
from tests.support.buckets import NOWHERE, PREFIX, SERVERS, BucketServer, bucket_server
from tests.support.tiny_models import publish

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[BucketServer]:
    """Yield a server of each API."""
    with bucket_server(request.param, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def bucket(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """Create an empty bucket on the server, and set the variables of the provider."""
    server.bucket = f"bucket{uuid4().hex[:12]}"
    server.create_bucket(server.bucket)
    set_variables(monkeypatch, server, server.api)
    return server


def set_variables(monkeypatch: pytest.MonkeyPatch, server: BucketServer, url: str) -> None:
    for name, value in server.variables(url).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def mirror(bucket: BucketServer, tmp_path: Path) -> Mirror:
    """Return a copy of a bucket with digits 1."""
    push(bucket, tmp_path, 1)
    mirror = Mirror(bucket.address, tmp_path / "copy", 1 << 30)
    mirror.prepare()
    return mirror


def push(bucket: BucketServer, tmp_path: Path, version: int) -> None:
    publish(tmp_path / "local", "digits", version=version)
    commands.push(f"digits@{version}", to=bucket.address, models_dir=str(tmp_path / "local"))


def update(mirror: Mirror) -> Changes:
    return asyncio.run(mirror.update())


def write(bucket: BucketServer, path: str, data: bytes) -> None:
    asyncio.run(source.open_source(bucket.address).write(path, data))


def test_pushed_version_is_pulled_byte_by_byte(mirror: Mirror, tmp_path: Path) -> None:
    assert update(mirror).pulled == [("digits", 1)]
    for file in (tmp_path / "local/digits/1").iterdir():
        assert (mirror.folder / "digits/1" / file.name).read_bytes() == file.read_bytes()


def test_new_version_is_pulled_by_the_next_update(mirror: Mirror, bucket: BucketServer, tmp_path: Path) -> None:
    update(mirror)
    assert not update(mirror).any
    push(bucket, tmp_path, 2)
    assert update(mirror).pulled == [("digits", 2)]


@pytest.mark.usefixtures("mirror")
def test_version_is_pushed_once(bucket: BucketServer, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="exists already"):
        commands.push("digits", to=bucket.address, models_dir=str(tmp_path / "local"))


def test_version_without_its_card_is_not_taken(mirror: Mirror, bucket: BucketServer) -> None:
    write(bucket, "digits/2/encode.onnx", b"half")
    assert update(mirror).pulled == [("digits", 1)]


def test_altered_object_is_refused_until_it_changes(mirror: Mirror, bucket: BucketServer, tmp_path: Path) -> None:
    write(bucket, "digits/1/encode.onnx", b"altered")
    assert "SHA-256" in update(mirror).refused["digits", 1]
    write(bucket, "digits/1/encode.onnx", (tmp_path / "local/digits/1/encode.onnx").read_bytes())
    assert update(mirror).pulled == [("digits", 1)]


def test_pin_is_followed_through_the_bucket(mirror: Mirror, bucket: BucketServer) -> None:
    update(mirror)
    commands.pin("digits@1", models_dir=bucket.address)
    assert update(mirror).pins
    assert (mirror.folder / "digits/pin.json").read_text() == '{"version":1}\n'
    commands.unpin("digits", models_dir=bucket.address)
    assert update(mirror).pins
    assert not (mirror.folder / "digits/pin.json").exists()


def test_too_many_objects_are_refused(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILES", 1)
    with pytest.raises(HubUnavailable, match="use a prefix"):
        update(mirror)


def test_hostile_keys_place_nothing_outside(mirror: Mirror, bucket: BucketServer, tmp_path: Path) -> None:
    bucket.put(f"{PREFIX}/../../evil/1/card.json", b"{}")
    with pytest.raises(HubUnavailable):
        update(mirror)
    assert not list(tmp_path.rglob("evil"))


def test_lost_bucket_keeps_the_copy(mirror: Mirror, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    update(mirror)
    set_variables(monkeypatch, bucket, NOWHERE)
    lost = Mirror(bucket.address, mirror.folder, 1 << 30)
    with pytest.raises(HubUnavailable):
        update(lost)
    assert (mirror.folder / "digits/1/card.json").exists()


@pytest.mark.usefixtures("mirror")
def test_versions_are_listed_pulled_and_verified_by_commands(
    bucket: BucketServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.list_models(models_dir=bucket.address)
    assert "digits" in capsys.readouterr().out
    commands.pull("digits@1", source=bucket.address, models_dir=str(tmp_path / "other"))
    commands.verify(models_dir=str(tmp_path / "other"))
    assert capsys.readouterr().out.splitlines()[-1].startswith("digits@1: ")


@pytest.mark.usefixtures("mirror")
def test_service_serves_a_new_version_of_the_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"models_dir": bucket.address, "model_cache_dir": tmp_path / "cache", "model_poll_seconds": 0.1}
    )
    with listening(settings) as base, httpx2.Client(base_url=base) as client:

        def wait_for(version: int) -> None:
            deadline = monotonic() + 30
            while client.get("/models/digits").json().get("version") != version:
                assert monotonic() < deadline

        wait_for(1)
        push(bucket, tmp_path, 2)
        wait_for(2)

"""Models in a bucket of a real S3 API, moto's server: pushed, pulled, pinned, altered and lost."""

import asyncio
import socket
from collections.abc import Generator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from service.cli import models as commands
from service.repository.hub import source
from service.repository.hub.errors import HubUnavailable
from service.repository.hub.mirror import Changes, Mirror
from tests.support.remote_models import s3_server
from tests.support.tiny_models import publish

pytestmark = pytest.mark.slow
ADDRESS = "s3://bucket/team/models"


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """Yield the address of an S3 server with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with s3_server(port) as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Empty the server, make a bucket, and set the variables of the provider."""
    urlopen(Request(f"{server}/moto-api/reset", method="POST")).close()  # noqa: S310
    urlopen(Request(f"{server}/bucket", method="PUT")).close()  # noqa: S310
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return f"{server}/bucket/team/models"


@pytest.fixture
def mirror(bucket: str, tmp_path: Path) -> Mirror:  # noqa: ARG001 - sets the variables of the provider
    """Return a copy of a bucket with digits 1."""
    publish(tmp_path / "local", "digits")
    commands.push("digits", to=ADDRESS, models_dir=str(tmp_path / "local"))
    mirror = Mirror(ADDRESS, tmp_path / "copy", 1 << 30)
    mirror.prepare()
    return mirror


def update(mirror: Mirror) -> Changes:
    return asyncio.run(mirror.update())


def write(path: str, data: bytes) -> None:
    asyncio.run(source.open_source(ADDRESS).write(path, data))


def put(url: str, data: bytes) -> None:
    urlopen(Request(url, data, method="PUT")).close()  # noqa: S310


def test_pushed_version_is_pulled_byte_by_byte(mirror: Mirror, tmp_path: Path) -> None:
    assert update(mirror).pulled == [("digits", 1)]
    for file in (tmp_path / "local/digits/1").iterdir():
        assert (mirror.folder / "digits/1" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("mirror")
def test_version_is_pushed_once(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="exists already"):
        commands.push("digits", to=ADDRESS, models_dir=str(tmp_path / "local"))


def test_version_without_its_card_is_not_taken(mirror: Mirror, bucket: str) -> None:
    put(f"{bucket}/digits/2/encode.onnx", b"half")
    assert update(mirror).pulled == [("digits", 1)]


def test_altered_object_is_refused_until_it_changes(mirror: Mirror, tmp_path: Path) -> None:
    write("digits/1/encode.onnx", b"altered")
    assert "SHA-256" in update(mirror).refused["digits", 1]
    write("digits/1/encode.onnx", (tmp_path / "local/digits/1/encode.onnx").read_bytes())
    assert update(mirror).pulled == [("digits", 1)]


def test_pin_is_followed_through_the_bucket(mirror: Mirror) -> None:
    update(mirror)
    commands.pin("digits@1", models_dir=ADDRESS)
    assert update(mirror).pins
    assert (mirror.folder / "digits/pin.json").read_text() == '{"version":1}\n'
    commands.unpin("digits", models_dir=ADDRESS)
    assert update(mirror).pins
    assert not (mirror.folder / "digits/pin.json").exists()


def test_too_many_objects_are_refused(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILES", 1)
    with pytest.raises(HubUnavailable, match="use a prefix"):
        update(mirror)


def test_hostile_keys_place_nothing_outside(mirror: Mirror, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/..%2F..%2Fevil/1/card.json", b"{}")
    with pytest.raises(HubUnavailable):
        update(mirror)
    assert not list(tmp_path.rglob("evil"))


def test_lost_bucket_keeps_the_copy(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    update(mirror)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    lost = Mirror(ADDRESS, mirror.folder, 1 << 30)
    with pytest.raises(HubUnavailable):
        update(lost)
    assert (mirror.folder / "digits/1/card.json").exists()


@pytest.mark.usefixtures("mirror")
def test_versions_are_pulled_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.pull("digits@1", source=ADDRESS, models_dir=str(tmp_path / "other"))
    commands.verify(models_dir=str(tmp_path / "other"))
    assert capsys.readouterr().out.splitlines()[-1].startswith("digits@1: ")

"""The examples run as they are, each around a running service whose denoiser inverts images."""

import os
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from service.auth import new_key
from tests.conftest import pixels, png
from tests.support.busy_gate import busy_gate
from tests.support.environments import environment, tool
from tests.support.processes import free_port, serving, until

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
FLAT = np.full((16, 16, 3), (200, 60, 90), np.uint8)
BUCKET = """
import sys, boto3
s3, folder = boto3.client("s3"), sys.argv[1]
s3.create_bucket(Bucket="photos")
s3.upload_file(f"{folder}/photo.png", "photos", "incoming/a/photo.png")
s3.upload_file(f"{folder}/text.png", "photos", "incoming/text.png")
"""
LISTING = """
import sys, boto3
s3, folder = boto3.client("s3"), sys.argv[1]
s3.download_file("photos", "clean/a/photo.png", f"{folder}/clean.png")
print(len(s3.list_objects_v2(Bucket="photos", Prefix="clean/")["Contents"]))
"""


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """Return an API key and its line of a keys file."""
    return new_key("examples")


@pytest.fixture(scope="module")
def service(models: Path, key: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{key[1]}\n")
    with serving(models, "--default-denoise", "photos", "--api-keys-file", str(keys)) as (address, _):
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a photograph and a file that is none."""
    (tmp_path / "photo.png").write_bytes(png(PHOTO))
    (tmp_path / "text.png").write_text("not an image")
    return tmp_path


@contextmanager
def running(command: list[str], port: int, **environ: str) -> Generator[str]:
    """Run a server until the block ends, and yield its port once it listens."""
    process = subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True)

    def listens() -> bool:
        assert process.poll() is None, process.communicate()[1]
        try:
            httpx2.get(f"http://127.0.0.1:{port}/")
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return False
        except httpx2.TransportError:  # it speaks TLS
            return True
        return True

    try:
        until(listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def run(command: list[str], **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def web_application(name: str, port: int) -> list[str]:
    """Return the command that starts one of the web applications."""
    if name == "node-app":
        return [tool("node"), str(EXAMPLES / name / "server.mjs")]
    program = [str(environment("examples")), "-m", "uvicorn", "app:app", "--port", str(port)]
    return [*program, "--app-dir", str(EXAMPLES / name)]


@pytest.mark.parametrize("name", ["fastapi-app", "node-app"])
def test_web_application(name: str, service: str, key: tuple[str, str]) -> None:
    def post(address: str, content: bytes) -> httpx2.Response:
        if name == "node-app":
            return httpx2.post(f"{address}/photos", content=content, timeout=60)
        return httpx2.post(f"{address}/photos", files={"photo": content}, timeout=60)

    port = free_port()
    command = web_application(name, port)
    with (
        busy_gate(service, 1, 7) as gate,
        running(command, port, DENOISER_URL=gate.address, DENOISER_KEY=key[0], PORT=str(port)) as address,
    ):
        busy = post(address, png(FLAT))
        denoised = post(address, png(FLAT))
        refused = post(address, b"not an image")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")
    assert denoised.headers["content-type"] == "image/jpeg"
    assert np.abs(pixels(denoised.content).astype(int) - (255 - FLAT)).max() <= 4  # JPEG
    assert refused.status_code == 415
    assert "not an image in a supported format" in refused.json()["detail"]


def test_worker_waits_as_retry_after_says(service: str, key: tuple[str, str], folder: Path) -> None:
    outbox = folder / "out"
    command = [str(environment("examples")), str(EXAMPLES / "folder-worker" / "worker.py"), str(folder), str(outbox)]
    with busy_gate(service, 2, 1) as gate:
        done = run([*command, "--once"], DENOISER_URL=gate.address, DENOISER_KEY=key[0])
    assert done.returncode == 0, done.stderr
    waits = np.diff(gate.times)
    assert len(waits) == 3
    assert waits[:2].min() >= 1
    np.testing.assert_array_equal(pixels((outbox / "photo.png").read_bytes()), 255 - PHOTO)
    assert "not an image" in (folder / "failed" / "text.png.json").read_text()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == []


@pytest.mark.parametrize(
    ("kind", "reason"), [("slow", "504 Gateway Time-out"), ("fatal", "no answer after 3 attempts: RemoteProtocolError")]
)
def test_worker_passes_a_file_that_never_ends(
    service: str, key: tuple[str, str], folder: Path, kind: str, reason: str
) -> None:
    stuck = png(FLAT)
    (folder / "stuck.png").write_bytes(stuck)
    os.utime(folder / "stuck.png", (0, 0))  # the oldest is the first
    command = [str(environment("examples")), str(EXAMPLES / "folder-worker" / "worker.py"), str(folder)]
    with busy_gate(
        service, 0, slow={stuck} if kind == "slow" else (), fatal={stuck} if kind == "fatal" else ()
    ) as gate:
        done = run([*command, str(folder / "out"), "--once"], DENOISER_URL=gate.address, DENOISER_KEY=key[0])
    assert done.returncode == 0, done.stderr
    assert reason in (folder / "failed" / "stuck.png.json").read_text()
    assert (folder / "failed" / "stuck.png").read_bytes() == stuck
    np.testing.assert_array_equal(pixels((folder / "out" / "photo.png").read_bytes()), 255 - PHOTO)


def test_bucket_job_does_what_is_new(service: str, key: tuple[str, str], folder: Path) -> None:
    python, port = str(environment("examples")), free_port()
    store = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    store |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    job = [python, str(EXAMPLES / "bucket-job" / "job.py"), "photos"]
    moto = [python, "-m", "moto.server", "-p", str(port)]
    with busy_gate(service, 1, 1) as gate, running(moto, port):
        denoiser = {"DENOISER_URL": gate.address, "DENOISER_KEY": key[0]}
        assert run([python, "-c", BUCKET, str(folder)], **store).returncode == 0
        first, second = run(job, **store, **denoiser), run(job, **store, **denoiser)
        listed = run([python, "-c", LISTING, str(folder)], **store)
    assert first.stdout == "incoming/a/photo.png: denoised\n", first.stderr
    assert "incoming/text.png: 415" in first.stderr
    assert (first.returncode, second.returncode, second.stdout) == (1, 1, "")
    assert listed.stdout == "1\n", listed.stderr
    np.testing.assert_array_equal(pixels((folder / "clean.png").read_bytes()), 255 - PHOTO)


def test_nginx_terminates_tls_and_http2(service: str, key: tuple[str, str], folder: Path) -> None:
    nginx, port = tool("nginx"), free_port()
    text = (EXAMPLES / "nginx" / "nginx.conf").read_text()
    text = text.replace("127.0.0.1:8000", service.removeprefix("http://")).replace("8443", str(port), 1)
    (folder / "nginx.conf").write_text(text)
    (certificate,) = re.findall(
        r"^openssl (?:.*\\\n)*.*$", (EXAMPLES / "nginx" / "README.md").read_text(), re.MULTILINE
    )
    subprocess.run(["bash", "-c", certificate], cwd=folder, check=True, capture_output=True)
    command = ["curl", "-sS", "--cacert", str(folder / "cert.pem"), "-H", f"Authorization: Bearer {key[0]}"]
    command += ["--data-binary", f"@{folder / 'photo.png'}", "-o", str(folder / "clean.png"), "-D", "-"]
    with running([nginx, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"], port):
        answered = run([*command, f"https://localhost:{port}/denoise"])
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.startswith("HTTP/2 200")
    assert re.search(r"^x-request-id: [0-9a-f]{32}\s", answered.stdout, re.MULTILINE)
    np.testing.assert_array_equal(pixels((folder / "clean.png").read_bytes()), 255 - PHOTO)


def test_every_example_is_listed() -> None:
    listed = re.findall(r"^\| \[([a-z-]+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(listed)


@pytest.mark.parametrize("page", sorted(EXAMPLES.rglob("*.md")), ids=lambda path: path.parent.name)
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link

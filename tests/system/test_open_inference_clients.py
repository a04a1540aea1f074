"""The clients of Triton and KServe against the service, each from an environment of its own, and curl."""

import subprocess
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from service.auth import new_key
from tests.conftest import digit, png
from tests.support.environments import environment
from tests.support.processes import free_port, serving

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "support" / "oip_clients"


class Service:
    """The addresses of a running service, an API key, and files to send."""

    def __init__(self, http: str, grpc: str, key: str, folder: Path) -> None:
        self.http, self.grpc, self.key = http, grpc, key
        self.picture, self.array = folder / "picture.png", folder / "images.npy"
        self.picture.write_bytes(png(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)))
        np.save(self.array, np.stack([digit(0), digit(1)]))


@pytest.fixture(params=[1, 2])
def service(request: pytest.FixtureRequest, models: Path, tmp_path: Path) -> Generator[Service]:
    """Run the service with one or two workers. Only one worker can load and unload models."""
    key, line = new_key("test")
    (tmp_path / "keys").write_text(f"{line}\n")
    port = free_port()
    flags = ["--grpc-port", str(port), "--api-keys-file", str(tmp_path / "keys"), "--workers", str(request.param)]
    flags += ["--enable-model-control"] if request.param == 1 else []
    with serving(models, *flags) as (address, _):
        yield Service(address, f"127.0.0.1:{port}", key, tmp_path)


@pytest.mark.parametrize("service", [1], indirect=True)
@pytest.mark.parametrize("script", ["triton_http", "triton_aio", "triton_grpc", "kserve_http", "kserve_grpc"])
def test_client_works_unchanged(script: str, service: Service) -> None:
    python = environment(script.partition("_")[0])
    address = service.grpc if script.endswith("grpc") else service.http
    command = [str(python), str(SCRIPTS / f"{script}.py"), address, str(service.picture), str(service.array)]
    completed = subprocess.run([*command, service.key], capture_output=True, text=True, timeout=120)
    assert completed.stdout.strip().endswith("passed"), completed.stderr[-2000:]


@pytest.mark.parametrize("service", [2], indirect=True)
def test_two_workers_share_the_grpc_port(service: Service) -> None:
    python = environment("kserve")
    command = [str(python), str(SCRIPTS / "kserve_grpc.py"), service.grpc, str(service.picture), str(service.array)]
    for _ in range(4):
        completed = subprocess.run([*command, service.key], capture_output=True, text=True, timeout=120)
        assert completed.stdout.strip().endswith("passed"), completed.stderr[-2000:]


@pytest.mark.parametrize("service", [1], indirect=True)
def test_curl_sends_an_image_file(service: Service) -> None:
    command = ["curl", "-sS", "--data-binary", f"@{service.picture}", "-H", "Inference-Header-Content-Length: 0"]
    command += ["-H", f"Authorization: Bearer {service.key}", f"{service.http}/v2/models/photos.denoise/infer"]
    body = subprocess.run(command, capture_output=True, check=True).stdout
    assert body.startswith(b'{"model_name":"photos.denoise"')
    assert len(body) - body.index(b"}]}") - 3 == 5 * 7 * 3

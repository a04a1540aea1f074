"""Clients generated from the OpenAPI document encode, denoise files and read problem documents."""

import base64
import json
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.auth import new_key
from tests.conftest import digit, pixels, png
from tests.support.generated_client import generate_python, node_project, run
from tests.support.processes import serving
from tests.support.tiny_models import encode_oracle

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "support" / "generated_clients"
COMPILE = ["npx", "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "client.ts"]
PHOTO = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@dataclass(frozen=True)
class Service:
    """The address of a service that asks for an API key, the key, and a folder with a digit and a photograph."""

    address: str
    key: str
    folder: Path

    @property
    def arguments(self) -> list[str]:
        """The arguments of the scripts."""
        return [self.address, self.key, "digit.png", "photo.png"]


@pytest.fixture
def service(models: Path, tmp_path: Path) -> Generator[Service]:
    key, line = new_key("test")
    (tmp_path / "keys").write_text(f"{line}\n")
    (tmp_path / "digit.png").write_bytes(png(digit()))
    (tmp_path / "photo.png").write_bytes(png(PHOTO))
    flags = ["--api-keys-file", str(tmp_path / "keys"), "--default-encode", "digits", "--default-denoise", "photos"]
    with serving(models, *flags) as (address, _):
        yield Service(address, key, tmp_path)


def check(answers: dict[str, Any]) -> None:
    """Compare what a client printed with what the tiny models compute."""
    assert answers["models"] == ["digits", "photos", "points"]
    np.testing.assert_allclose(answers["code"], encode_oracle(digit()[None])[0], rtol=1e-4, atol=1e-5)
    assert answers["vector"] == [1, 2, 3, 0]
    np.testing.assert_array_equal(pixels(base64.b64decode(answers["denoised"])), 255 - PHOTO)
    half = pixels(base64.b64decode(answers["half"])).astype(int)
    assert np.abs(half - 127.5).max() <= 1  # half of the way from the picture to its negative
    assert (answers["problem"]["status"], answers["problem"]["type"]) == (415, "/problems/unsupported-image")
    assert answers["refused"]["status"] == 401


def test_python_client(service: Service) -> None:
    python = generate_python(service.address, service.folder)
    shutil.copy(SCRIPTS / "client.py", service.folder)
    check(json.loads(run([str(python), "client.py", *service.arguments], service.folder)))


def test_typescript_client(service: Service) -> None:
    node_project(service.folder)
    run(["npx", "openapi-typescript", f"{service.address}/openapi.json", "-o", "hourglass.d.ts"], service.folder)
    shutil.copy(SCRIPTS / "client.ts", service.folder)
    run(COMPILE, service.folder)
    check(json.loads(run(["node", "client.js", *service.arguments], service.folder)))

"""Defaults of the settings that cannot be served: the log, readiness, requests, and models that come later."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient

from tests.conftest import Serve, digit, png
from tests.support.tiny_models import publish

FAULTS = {
    "a misspelled name": ("digit", "there is no such model; there are "),
    "a version that is not there": ("digits@2", "digits has no such version; it has 1"),
    "a model without the operation": ("points@1", "points does not support denoise, only "),
    "a rejected model": ("broken", "version 1 of broken was rejected: reconstruct.onnx does not have the SHA-256"),
    "a rejected version": ("broken@1", "version 1 of broken was rejected: reconstruct.onnx does not have the SHA-256"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two models and one that is rejected."""
    publish(tmp_path, "digits")
    publish(tmp_path, "points")
    (publish(tmp_path, "points", name="broken") / "reconstruct.onnx").write_bytes(b"")
    return tmp_path


@pytest.mark.usefixtures("uncached_loggers")
@pytest.mark.parametrize(("default", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_default_that_cannot_serve_is_logged_and_named(serve: Serve, folder: Path, default: str, reason: str) -> None:
    with structlog.testing.capture_logs() as lines:
        client = serve(models_dir=folder, default_denoise=default)
    expected = f"HOURGLASS_DEFAULT_DENOISE is {default}, but {reason}"
    errors = [line["reason"] for line in lines if line["log_level"] == "error"]
    assert errors
    assert all(error.startswith(expected) for error in errors)
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"].startswith(expected)
    assert client.get("/v2/health/ready").status_code == 503
    answer = client.post("/denoise", content=png(digit()))
    assert answer.status_code in (404, 409, 503)
    assert answer.json()["detail"].startswith(f"model: the default model of the service cannot be used: {expected}")
    assert client.post("/denoise?model=digits", content=png(digit())).status_code == 200


def test_every_default_at_fault_is_named(serve: Serve, folder: Path) -> None:
    reason = serve(models_dir=folder, default_denoise="x", default_encode="y").get("/readyz").json()["status"]
    assert "HOURGLASS_DEFAULT_DENOISE is x" in reason
    assert "HOURGLASS_DEFAULT_ENCODE is y" in reason


def refresh(client: TestClient) -> None:
    """Look for changes in the models folder."""
    store: Any = client.app_state["service"].store
    asyncio.run(store.refresh_async())


def test_a_version_that_comes_later_makes_the_service_ready(serve: Serve, folder: Path) -> None:
    client = serve(models_dir=folder, default_denoise="digits@2")
    assert client.get("/readyz").status_code == 503
    publish(folder, "digits", version=2)
    publish(folder, "digits", version=3)
    refresh(client)
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.post("/denoise", content=png(digit())).headers["x-model-version"] == "2"


@pytest.mark.usefixtures("uncached_loggers")
@pytest.mark.parametrize("default", ["digits", "digits@1", ""])
def test_a_default_that_serves_is_ready(serve: Serve, folder: Path, default: str) -> None:
    with structlog.testing.capture_logs() as lines:
        client = serve(models_dir=folder, default_denoise=default)
    assert client.get("/readyz").json() == {"status": "ready"}
    assert [line for line in lines if line["log_level"] == "error"] == []


def test_version_of_a_request_is_no_fault_of_the_default(serve: Serve, folder: Path) -> None:
    answer = serve(models_dir=folder).post("/denoise?version=9", content=png(digit()))
    assert answer.json()["detail"] == "version: digits has no such version; it has 1"

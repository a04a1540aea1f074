"""Health, metrics and models over HTTP."""

import asyncio
import platform
import re
from contextlib import suppress
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.config import Settings
from service.http.endpoint import Endpoint
from tests.conftest import Serve, digit, listening, png
from tests.support.tiny_models import publish


def test_livez_and_readyz_return_200(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_without_models_livez_passes_and_readyz_fails(serve: Serve, tmp_path: Path) -> None:
    client = serve(models_dir=tmp_path)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.post("/denoise?model=digits", content=png(digit())).status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/models", "/models/nobody", "/docs", "/openapi.json", "/none"])
def test_head_has_the_headers_of_get(client: TestClient, path: str) -> None:
    asked, head_answer = client.get(path), client.head(path)
    assert head_answer.status_code == asked.status_code
    assert all(head_answer.headers[name] == asked.headers[name] for name in ("content-type", "content-length"))


def test_head_has_no_body_and_is_listed_in_allow(models: Path) -> None:
    with listening(Settings.model_validate({"models_dir": models, "model_watch": "off"})) as address:
        connection = HTTPConnection(address.removeprefix("http://"), timeout=20)
        for method, status in (("HEAD", 200), ("GET", 200), ("PUT", 405), ("GET", 200)):
            connection.request(method, "/readyz")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, method != "HEAD")
            assert answer.headers["allow"] == ("GET, HEAD" if status == 405 else None)
        connection.close()


def test_models_are_listed_with_choices_and_reasons(client: TestClient) -> None:
    listed = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert set(listed) == {"digits", "photos", "points"}
    assert listed["digits"]["default_for"] == ["encode", "decode", "reconstruct", "denoise"]
    expected = {"photos": {"device", "precision", "threads", "tile"}}
    expected["digits"] = {"device", "precision", "threads", "executor", "batch"}
    for name, choices in expected.items():
        chosen = listed[name]["execution"]["denoise"]
        assert set(chosen) == choices
        assert all(choice["reason"] for choice in chosen.values())


def test_rejected_version_is_listed_with_its_reason(serve: Serve, tmp_path: Path) -> None:
    (publish(tmp_path, "digits") / "encode.onnx").write_bytes(b"")
    client = serve(models_dir=tmp_path)
    assert client.get("/models").json() == {
        "models": [],
        "rejected": [
            {"name": "digits", "version": 1, "reason": "encode.onnx does not have the SHA-256 of the card"},
        ],
    }
    answer = client.get("/models/digits")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/model-rejected")


def test_model_detail_contains_the_card(client: TestClient) -> None:
    shown = client.get("/models/points").json()
    assert shown["card"]["input"] == {"kind": "vector", "features": 3}
    assert client.get("/models/nobody").status_code == 404


def test_metrics_count_requests_items_and_stages(serve: Serve) -> None:
    client = serve()
    for _ in range(3):
        client.post("/denoise", content=png(digit()))
    client.post("/denoise", content=b"")
    text = client.get("/metrics").text
    assert 'hourglass_requests_total{code="200",model="digits",protocol="http",route="/denoise"} 3.0' in text
    assert 'hourglass_requests_total{code="422",model="digits",protocol="http",route="/denoise"} 1.0' in text
    assert 'hourglass_stage_duration_seconds_count{model="digits",operation="denoise",stage="run"} 3.0' in text
    assert 'hourglass_rejections_total{reason="invalid-image"} 1.0' in text
    assert 'hourglass_batch_size_sum{model="digits",operation="denoise"} 3.0' in text
    assert "hourglass_inflight_items 0.0" in text
    assert "hourglass_inflight_bytes 0.0" in text


def test_metrics_describe_models_build_and_process(serve: Serve) -> None:
    text = serve().get("/metrics").text
    assert 'hourglass_model_loaded{model="digits",version="1"} 1.0' in text
    assert f'hourglass_build_info{{python="{platform.python_version()}",version="{version("hourglass")}"}} 1.0' in text
    assert re.search(r"^process_cpu_seconds_total [\d.]+$", text, re.MULTILINE)
    assert re.search(r"^process_resident_memory_bytes [\d.e+]+$", text, re.MULTILINE)


def test_metrics_have_the_distributions_of_drift(serve: Serve) -> None:
    client = serve()
    result = client.post("/reconstruct?model=digits", content=png(digit()))
    percentile = float(result.headers["x-error-percentile"])
    client.post("/denoise", content=png(digit()))
    text = client.get("/metrics").text
    label = 'model="digits",operation="reconstruct"'
    assert f"hourglass_error_percentile_sum{{{label}}} {percentile}" in text
    for bound in range(10, 101, 10):
        assert f'hourglass_error_percentile_bucket{{le="{bound}.0",{label}}} {float(percentile <= bound)}' in text
    assert 'hourglass_noise_sigma_count{model="digits",operation="denoise"} 1.0' in text


def test_metrics_contain_no_text_of_clients(serve: Serve) -> None:
    client = serve()
    client.post("/denoise?model=secret", content=png(digit()))
    client.get("/secret")
    assert "secret" not in client.get("/metrics").text


def test_cancelled_request_is_not_counted_as_completed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    client = serve()
    monkeypatch.setattr(Endpoint, "handle", cancelled)
    with suppress(Exception, asyncio.CancelledError):
        client.post("/denoise", content=png(digit()))
    text = client.get("/metrics").text
    assert re.search(r'{code="499",model="[^"]*",protocol="http",route="/denoise"} 1\.0', text)
    assert not re.search(r'{code="200",model="[^"]*",protocol="http",route="/denoise"', text)

"""Truncated files over HTTP: rejected with the share that is there, or allowed by a parameter and said in a header."""

import base64
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.codec import write_npy
from tests.conftest import png
from tests.support.compatibility import refuses

PIXELS = np.random.default_rng(5).integers(0, 256, (120, 80, 3), np.uint8)


def post(client: TestClient, query: str, body: bytes, kind: str = "image/any") -> Any:
    return client.post(f"/denoise?model=photos{query}", content=body, headers={"content-type": kind})


@refuses(9, "a cut image without `truncated=allow`", because="422 with the share that is there", cases="{kind}")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_image_is_rejected_unless_it_is_allowed(client: TestClient, kind: str) -> None:
    blob = png(PIXELS, kind)
    cut = blob[: len(blob) // 2]
    for query in ("", "&truncated=reject"):
        answer = post(client, query, cut)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/truncated-image")
        assert "truncated=allow" in answer.json()["detail"]
        assert "% of the image is there" in answer.json()["detail"]
    allowed = post(client, "&truncated=allow", cut)
    assert allowed.status_code == 200
    assert 0.2 < float(allowed.headers["x-truncated"]) < 0.6
    body = {"images": [base64.b64encode(cut).decode()]}
    result = client.post("/denoise?model=photos&truncated=allow", json=body).json()["results"][0]
    assert result["truncated"] == float(allowed.headers["x-truncated"])


def test_a_whole_image_has_no_such_header(client: TestClient) -> None:
    for blob in (png(PIXELS, "JPEG"), png(PIXELS, "JPEG")[:-2]):
        answer = post(client, "&truncated=allow", blob)
        assert answer.status_code == 200
        assert "x-truncated" not in answer.headers


def test_a_webp_is_never_said_to_be_allowed(client: TestClient) -> None:
    blob = png(PIXELS, "WEBP")
    answer = post(client, "&truncated=allow", blob[: len(blob) // 2])
    assert answer.json()["type"] == "/problems/truncated-image"
    assert "truncated=allow" not in answer.json()["detail"]


def test_arrays_and_decode_take_no_such_parameter(client: TestClient) -> None:
    answer = post(client, "&truncated=allow", write_npy(PIXELS[np.newaxis]), "application/x-npy")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")
    answer = client.post("/decode?truncated=allow", json={"values": [[0.0] * 4]})
    assert "unknown query parameter truncated" in answer.json()["detail"]

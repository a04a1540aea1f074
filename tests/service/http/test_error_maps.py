"""`/reconstruct?map`: the map as an image, an array and in JSON; what counts as unusual; contributions of columns."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.engine.error_map import error_map
from tests.conftest import Serve, digit, pixels, png
from tests.support.tiny_models import SIDE, publish

PNG = {"content-type": "image/png"}


@pytest.fixture
def expected(client: TestClient) -> Any:
    """Return the error map of the digit, float32 H,W."""
    output = pixels(client.post("/reconstruct?model=digits", content=png(digit()), headers=PNG).content)
    return error_map(digit(), output[..., np.newaxis])


@pytest.mark.parametrize("value", ["true", "overlay", "1", "OVERLAY"])
def test_map_answers_with_colours_over_the_image(client: TestClient, value: str) -> None:
    answer = client.post(f"/reconstruct?model=digits&map={value}", content=png(digit()), headers=PNG)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert "x-mse" in answer.headers
    assert pixels(answer.content).shape == (SIDE, SIDE, 3)


def test_gray_map_has_16_bits(client: TestClient, expected: Any) -> None:
    answer = client.post("/reconstruct?model=digits&map=gray", content=png(digit()), headers=PNG)
    image = Image.open(BytesIO(answer.content))
    assert image.mode == "I;16"
    np.testing.assert_allclose(np.asarray(image) / 65535, expected, atol=1e-5)


def test_map_is_an_array_and_a_field_of_json(client: TestClient, expected: Any) -> None:
    answer = client.post("/reconstruct?model=digits&map=true&format=npy", content=png(digit()), headers=PNG)
    np.testing.assert_array_equal(np.load(BytesIO(answer.content)), expected[np.newaxis])
    answer = client.post("/reconstruct?model=digits&map=gray&format=json", content=png(digit()), headers=PNG)
    (result,) = answer.json()["results"]
    assert pixels(base64.b64decode(result["image"])).shape == (SIDE, SIDE)
    np.testing.assert_allclose(pixels(base64.b64decode(result["map"])) / 65535, expected, atol=1e-5)


def test_map_is_no_parameter_of_other_operations(client: TestClient) -> None:
    answer = client.post("/denoise?map=true", content=png(digit()), headers=PNG)
    assert answer.status_code == 400
    assert "map" in answer.json()["detail"]


@pytest.mark.parametrize(("query", "hint"), [("map=gray&format=jpeg", "format=png"), ("map=blue", "overlay")])
def test_map_that_cannot_be_answered_is_refused(client: TestClient, query: str, hint: str) -> None:
    answer = client.post(f"/reconstruct?model=digits&{query}", content=png(digit()), headers=PNG)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("map: ")
    assert hint in answer.json()["detail"]


def test_columns_are_named_with_their_contributions(client: TestClient) -> None:
    body = {"values": [[2.0, 0.0, 4.0]]}
    (result,) = client.post("/reconstruct?model=points&map=true", json=body).json()["results"]
    assert list(result["contributions"].items()) == [("2", pytest.approx(0.8)), ("0", pytest.approx(0.2)), ("1", 0.0)]
    answer = client.post("/reconstruct?model=points&map=true&format=npy", json=body)
    assert answer.status_code == 400
    assert "format=json" in answer.json()["detail"]


def test_error_above_the_threshold_is_unusual(tmp_path: Path, serve: Serve) -> None:
    publish(tmp_path, "points", format=2, threshold={"error": 1.0, "false_alarm_rate": 0.01})
    client = serve(models_dir=tmp_path)
    results = client.post("/reconstruct", json={"values": [[1, 1, 1], [9, 9, 9]]}).json()["results"]
    assert [result["unusual"] for result in results] == [False, True]


def test_threshold_of_images_is_a_header(tmp_path: Path, serve: Serve) -> None:
    publish(tmp_path, "digits", format=2, threshold={"error": 0.0, "false_alarm_rate": 0.01})
    answer = serve(models_dir=tmp_path).post("/reconstruct", content=png(digit()), headers=PNG)
    assert answer.headers["x-unusual"] == "true"

"""The quality of lossy responses: that of the JPEG sent, that of the parameter, or that of the settings."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.conftest import Serve, png
from tests.support.compatibility import refuses

PIXELS = np.random.default_rng(5).integers(0, 256, (24, 16, 3), np.uint8)


def post(client: TestClient, query: str, body: bytes) -> Any:
    return client.post(f"/denoise?model=photos{query}", content=body, headers={"content-type": "image/any"})


def tables(blob: bytes) -> Any:
    return Image.open(BytesIO(blob)).quantization  # pyright: ignore[reportAttributeAccessIssue]


def expected(quality: int) -> Any:
    return tables(png(PIXELS, "JPEG", quality=quality))


def test_a_jpeg_keeps_its_quality_and_the_parameter_overrides_it(serve: Serve) -> None:
    client = serve(image_quality=20)
    body = png(PIXELS, "JPEG", quality=93)
    assert tables(post(client, "", body).content) == expected(93)
    assert tables(post(client, "&quality=55", body).content) == expected(55)
    assert tables(post(client, "&format=jpeg", png(PIXELS)).content) == expected(20)
    assert tables(post(client, "&format=jpeg&quality=81", png(PIXELS)).content) == expected(81)


def test_the_quality_of_webp_is_obeyed(client: TestClient) -> None:
    sizes = [len(post(client, f"&format=webp&quality={quality}", png(PIXELS)).content) for quality in (5, 60, 100)]
    assert sizes == sorted(set(sizes))


def test_images_in_json_have_the_same_quality(client: TestClient) -> None:
    body = {"images": [base64.b64encode(png(PIXELS, "JPEG", quality=93)).decode()]}
    for query, quality in (("", 93), ("&quality=55", 55)):
        result = client.post(f"/denoise?model=photos{query}", json=body).json()["results"][0]
        assert tables(base64.b64decode(result["image"])) == expected(quality)


@refuses(6, "`quality=` where it has no effect", because="400 with the types that take it", cases="{query}")
@pytest.mark.parametrize("query", ["&format=png", "&format=npy", "&format=json", ""])
def test_a_quality_without_effect_is_refused(client: TestClient, query: str) -> None:
    answer = post(client, f"&quality=80{query}", png(PIXELS))
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")
    assert answer.json()["detail"].startswith("quality: applies to JPEG and WebP")


def test_encode_takes_no_quality(client: TestClient) -> None:
    answer = client.post("/encode?quality=80", content=png(PIXELS))
    assert "unknown query parameter quality" in answer.json()["detail"]

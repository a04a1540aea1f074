"""Formats that cannot hold the response: known from the header of the input, before anything is decoded."""

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service import codec
from service.codec import LazyPicture, Picture
from service.errors import NotAcceptable
from tests.conftest import pixels, png
from tests.support.compatibility import accepts, refuses

BROWSER = "image/avif,image/webp,*/*;q=0.8"
WEBP_SIDE, JPEG_SIDE = 16_383, 65_500  # of the WebP container specification, and of libjpeg's jmorecfg.h


def strip(width: int, height: int, kind: str = "PNG", **extra: Any) -> bytes:
    return png(np.full((height, width, 3), 90, np.uint8), kind, **extra)


def post(client: TestClient, query: str, body: bytes, accept: str = "*/*") -> Any:
    return client.post(f"/denoise?model=photos{query}", content=body, headers={"accept": accept})


@pytest.fixture
def undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: LazyPicture) -> Picture:
        raise AssertionError("decoded before the limit was checked")

    monkeypatch.setattr(LazyPicture, "decode", fail)


@refuses(
    5,
    "a format that cannot hold the size of the image, before anything is decoded",
    because="the limit of the format is stated, 406",
)
@pytest.mark.usefixtures("undecodable")
@pytest.mark.parametrize(
    ("size", "name", "limit"),
    [
        ((2, WEBP_SIDE + 1), "webp", WEBP_SIDE),
        ((WEBP_SIDE + 1, 2), "webp", WEBP_SIDE),
        ((JPEG_SIDE + 1, 1), "jpeg", JPEG_SIDE),
        ((1, 70_000), "jpeg", JPEG_SIDE),
    ],
)
def test_a_format_too_small_is_refused_before_decoding(
    client: TestClient, size: tuple[int, int], name: str, limit: int
) -> None:
    for query, accept in ((f"&format={name}", "*/*"), ("", f"image/{name}")):
        answer = post(client, query, strip(*size), accept)
        assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
        assert f"at most {limit} pixels on each side" in answer.json()["detail"]
        assert "image/png" in answer.json()["detail"]


@accepts(5, "the largest side that a format holds", oracle="Pillow", cases="{side} pixels of {name}")
@pytest.mark.parametrize(("side", "name"), [(WEBP_SIDE, "webp"), (JPEG_SIDE, "jpeg")])
def test_the_largest_size_of_a_format_is_answered(client: TestClient, side: int, name: str) -> None:
    answer = post(client, f"&format={name}", strip(1, side))
    assert answer.headers["content-type"] == f"image/{name}"
    assert pixels(answer.content).shape[0] == side


@accepts(
    5,
    "an image too large for the type that a browser prefers: another acceptable type is answered",
    oracle="the type of the response",
)
@pytest.mark.parametrize(
    ("size", "kind", "expected"), [((2, 17_000), "JPEG", "image/jpeg"), ((1, 70_000), "PNG", "image/png")]
)
def test_a_browser_gets_a_type_that_holds_the_image(
    client: TestClient, size: tuple[int, int], kind: str, expected: str
) -> None:
    answer = post(client, "", strip(*size, kind), BROWSER)
    assert answer.headers["content-type"] == expected
    assert pixels(answer.content).shape[:2] == size[::-1]


@refuses(5, "a side that is too long after turning", because="the limit of the format is stated, 406")
def test_sides_exchanged_by_the_orientation_count_too(client: TestClient) -> None:
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    answer = post(client, "&format=webp", strip(WEBP_SIDE + 1, 2, "JPEG", exif=turned))
    assert answer.status_code == 406
    fits = post(client, "&format=webp", strip(WEBP_SIDE, 2, "JPEG", exif=turned))
    assert pixels(fits.content).shape[:2] == (WEBP_SIDE, 2)


def test_arrays_are_measured_too(client: TestClient) -> None:
    body = codec.write_npy(np.zeros((1, WEBP_SIDE + 1, 1, 3), np.uint8))
    answer = client.post(
        "/denoise?model=photos&format=webp", content=body, headers={"content-type": "application/x-npy"}
    )
    assert answer.status_code == 406


def test_a_model_of_fixed_size_answers_any_input_in_any_format(client: TestClient) -> None:
    answer = client.post("/denoise?model=digits&format=webp", content=strip(2, 17_000))
    assert answer.headers["content-type"] == "image/webp"


def test_encoding_never_fails_by_the_size_in_another_way() -> None:
    with pytest.raises(NotAcceptable, match="at most 16383"):
        codec.encode(Picture(np.zeros((1, WEBP_SIDE + 1, 3), np.uint8), ""), "image/webp")

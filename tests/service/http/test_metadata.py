"""Metadata over HTTP: kept or stripped as asked, and what is missing named in a header or field."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.codec import write_npy
from service.http.headers import CORS_EXPOSED_HEADERS
from tests.support.compatibility import accepts
from tests.support.image_files import IPTC, XMP, cmyk_profile, photoshop, saved, segment, waves, with_segments
from tests.support.tiny_models import CODE, SIDE

HEADER = "x-metadata-dropped"
JPEG = saved(waves(20, 30), "JPEG", quality=95, dpi=(300, 300))
SCANNED = with_segments(
    JPEG,
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    segment(0xED, b"Photoshop 3.0\0" + photoshop((0x0404, IPTC))),
)


def post(client: TestClient, query: str, body: bytes = SCANNED) -> Any:
    answer = client.post(f"/denoise?model=photos{query}", content=body, headers={"content-type": "image/jpeg"})
    assert answer.status_code == 200, answer.text
    return answer


def test_what_a_format_cannot_hold_is_named_in_a_header(client: TestClient) -> None:
    assert HEADER not in post(client, "").headers
    assert post(client, "&format=webp").headers[HEADER] == "iptc"
    assert HEADER not in post(client, "&format=webp&metadata=strip").headers
    assert "X-Metadata-Dropped" in CORS_EXPOSED_HEADERS


def test_what_a_format_cannot_hold_is_named_in_json(client: TestClient) -> None:
    broken = with_segments(JPEG, segment(0xE1, b"Exif\0\0broken"))
    images = [base64.b64encode(image).decode() for image in (JPEG, broken)]
    whole, dropped = client.post("/denoise?model=photos", json={"images": images}).json()["results"]
    assert "metadata_dropped" not in whole
    assert dropped["metadata_dropped"] == ["exif"]


MODELS = {"reconstruct": "digits", "denoise": "photos"}


@pytest.mark.parametrize("operation", MODELS)
def test_metadata_can_be_chosen_where_images_are_answered(client: TestClient, operation: str) -> None:
    for query, kept in (("", True), ("&metadata=keep", True), ("&metadata=strip", False)):
        url = f"/{operation}?model={MODELS[operation]}{query}"
        answer = client.post(url, content=SCANNED, headers={"content-type": "image/jpeg"})
        assert answer.status_code == 200, answer.text
        assert ("dpi" in Image.open(BytesIO(answer.content)).info) is kept


NO_IMAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "codes": ("/encode?model=digits", {"content": JPEG}),
    "an array as the answer": ("/reconstruct?model=digits&format=npy", {"content": JPEG}),
    "an array as the body": (
        "/reconstruct?model=digits&format=png",
        {"content": write_npy(np.zeros((1, SIDE, SIDE, 1), np.uint8))},
    ),
    "an array in JSON": ("/decode?model=digits", {"json": {"values": [[0.0] * CODE]}}),
    "vectors": ("/reconstruct?model=points", {"json": {"values": [[0.0] * 3]}}),
}


@pytest.mark.parametrize("name", NO_IMAGE)
def test_metadata_without_an_image_is_refused_by_name(client: TestClient, name: str) -> None:
    url, body = NO_IMAGE[name]
    kind = "application/x-npy" if "body" in name else "image/jpeg"
    headers = {} if "json" in body else {"content-type": kind}
    answer = client.post(f"{url}&metadata=strip", headers=headers, **body)
    assert answer.status_code == 400, answer.text
    assert "metadata" in answer.json()["detail"]


def test_the_cause_is_named_before_parameters_without_effect(client: TestClient) -> None:
    headers = {"content-type": "image/png"}
    answer = client.post(
        "/denoise?model=photos&quality=80&metadata=keep", content=b"P6\n1 1\n255\nabc", headers=headers
    )
    assert answer.status_code == 415


@accepts(4, "`metadata=keep` and `metadata=strip`", oracle="Pillow", cases="{query}")
@pytest.mark.parametrize(("query", "kept"), [("", True), ("&metadata=keep", True), ("&metadata=strip", False)])
def test_resolution_xmp_and_iptc_are_kept_or_stripped(client: TestClient, query: str, kept: bool) -> None:
    image = Image.open(BytesIO(post(client, query).content))
    assert ("dpi" in image.info) is kept
    assert (image.info.get("photoshop") == {0x0404: IPTC}) is kept
    assert (b"Label>M\xc3\xbcller" in image.info.get("xmp", b"")) is kept


@accepts(1, "a motion photo over HTTP", oracle="status and type of the response")
def test_a_motion_photo_is_answered_as_the_photo(client: TestClient) -> None:
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\2" * 200
    answer, plain = post(client, "", JPEG + video), post(client, "", JPEG)
    assert answer.content == plain.content
    assert answer.headers[HEADER] == "trailer"


@accepts(3, "a CMYK image over HTTP: RGB without the CMYK profile", oracle="the profile that Pillow finds")
def test_a_cmyk_image_is_answered_without_its_profile(client: TestClient) -> None:
    out = BytesIO()
    Image.fromarray(waves(20, 30)).convert("CMYK").save(out, "JPEG", icc_profile=cmyk_profile())
    answer = post(client, "", out.getvalue())
    image = Image.open(BytesIO(answer.content))
    assert image.mode == "RGB"
    assert "icc_profile" not in image.info
    assert answer.headers[HEADER] == "icc"

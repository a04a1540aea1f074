"""Common mistakes of callers, and what the answers tell them to send instead."""

import io
import json

import numpy as np
import pytest
import structlog
from starlette.testclient import TestClient

from service.errors import InvalidImage
from service.http.base64_text import decode_text
from tests.conftest import Serve, digit, png

IMAGES = '{"images": ["BASE64", ...]}'
VALUES = '{"values": [[...], ...]}'
FILE = "it looks like the name of a file; send its content, as base64 or in a form: curl -F image=@FILE"


def said(client: TestClient, path: str, **request: object) -> str:
    """Return the detail of the answer to a request that is refused."""
    answer = client.post(path, **request)  # pyright: ignore[reportArgumentType]
    assert 400 <= answer.status_code < 500, answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            {"images": ["AAAA"], "strength": 0.5},
            f"the body has strength, but must be {IMAGES}; parameters go in the query string: ?strength=...",
        ),
        (
            {"images": ["AAAA"], "model": "photos"},
            f"the body has model, but must be {IMAGES}; parameters go in the query string: ?model=...",
        ),
        ({"image": "AAAA"}, f"the body has image, but must be {IMAGES}"),
        ({"instances": [[1]]}, f"the body has instances, but must be {IMAGES}"),
        ({"url": "http://a/b.png"}, f"the body has url, but must be {IMAGES}"),
        ({"values": [[1, 2]]}, f"the body has values, but must be {IMAGES}"),
        ({"<script>": 1}, f"the body has another field, but must be {IMAGES}"),
        ({}, f"the body must be {IMAGES}"),
        (["AAAA"], f"the body must be {IMAGES}"),
        ({"images": []}, "images: must have at least one item"),
    ],
)
def test_fields_of_json_are_named_with_what_is_expected(client: TestClient, body: object, detail: str) -> None:
    assert said(client, "/denoise", json=body) == detail


def test_fields_of_json_of_vectors_are_named(client: TestClient) -> None:
    assert (
        said(client, "/encode?model=points", json={"images": ["AAAA"]}) == f"the body has images, but must be {VALUES}"
    )
    assert said(client, "/encode?model=points", json={"values": []}) == "values: must have at least one item"


@pytest.mark.parametrize(
    "name", ["s.png", "scans/a b.JPG", "C:\\scans\\a.tiff", "/etc/passwd", "../x/y", "~/a.webp", "./abc"]
)
def test_name_of_a_file_is_recognized(client: TestClient, name: str) -> None:
    assert said(client, "/denoise", json={"images": [name]}) == f"the image is not valid base64: {FILE}"
    form = said(client, "/denoise", files={"image": (None, name)})
    assert FILE in form
    assert FILE in said(client, "/denoise", content=name.encode())


def test_images_are_not_taken_for_names_of_files() -> None:
    assert decode_text("/9j/AAAA") == b"\xff\xd8\xff\x00\x00\x00"
    assert decode_text("AAAA") == b"\0\0\0"
    with pytest.raises(InvalidImage, match="nothing is fetched"):
        decode_text("https://a.example/b.png")


@pytest.mark.parametrize(
    ("array", "detail"),
    [
        (np.full((1, 8, 8, 1), 200.0, np.float32), "float32 from 200 to 200: convert it by .astype(numpy.uint8)"),
        (np.arange(64).reshape(1, 8, 8, 1), "int64 from 0 to 63: convert it by .astype(numpy.uint8)"),
        (np.full((1, 8, 8, 1), -0.5), "float64 from -0.5 to -0.5"),
        (np.full((1, 8, 8, 1), np.nan), "float64 from nan to nan"),
        (np.ones((1, 8, 8, 1), bool), "bool from 1 to 1"),
    ],
)
def test_dtype_and_range_of_an_array_are_named(client: TestClient, array: np.ndarray, detail: str) -> None:
    body = io.BytesIO()
    np.save(body, array)
    answer = said(client, "/denoise", content=body.getvalue(), headers={"content-type": "application/x-npy"})
    assert answer == f"images must be uint8, or float in 0..1, N,8,8,1; this array is {detail}"


def test_json_without_its_type_is_named_once(client: TestClient) -> None:
    answer = said(client, "/denoise", content=json.dumps({"images": []}).encode())
    assert answer == (
        "the data are JSON; send it with Content-Type application/json; accepted are gif, jpeg, png, webp"
    )


def test_limits_name_the_setting_and_what_to_do(serve: Serve) -> None:
    client = serve(max_body_bytes=100, max_pixels=10, max_items=1)
    assert said(client, "/denoise", content=b"x" * 101) == (
        "a body may have at most 100 bytes, by HOURGLASS_MAX_BODY_BYTES of the service; "
        "scale the image down, or send several requests"
    )
    assert said(client, "/denoise", json={"images": ["AA", "AA"]}) == (
        "a request may have at most 1 items, by HOURGLASS_MAX_ITEMS of the service; send several requests"
    )
    assert said(serve(max_pixels=10), "/denoise", content=png(digit())) == (
        "the image has 8x8 pixels, the limit is 10 pixels; "
        "scale it down, or raise HOURGLASS_MAX_PIXELS or HOURGLASS_MAX_PIXELS_ANY_SIZE of the service"
    )


@pytest.mark.usefixtures("uncached_loggers")
def test_failing_readiness_is_logged_with_its_path(serve: Serve) -> None:
    client = serve(default_denoise="nobody", access_log=True)
    with structlog.testing.capture_logs() as lines:
        client.get("/readyz")
        client.get("/models")
        client.get("/secret")
    assert [line["path"] for line in lines if line["event"] == "request"] == ["/readyz", "/models", "other"]


def test_document_describes_decode_and_summarizes_every_path(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    decode = paths["/decode"]["post"]["description"]
    assert "multipart" not in decode
    assert "image" not in decode
    assert decode.startswith("Send codes as JSON or `.npy`, or one code as `application/x-hourglass-bitstream`.")
    for path, summary in (
        ("/livez", "Report whether the process responds"),
        ("/readyz", "Report whether the default models can be served"),
        ("/models", "List the served models and the rejected versions"),
        ("/models/{name}", "Return one model with its card"),
        ("/metrics", "Return the metrics in the Prometheus text format"),
    ):
        assert paths[path]["get"]["summary"] == summary

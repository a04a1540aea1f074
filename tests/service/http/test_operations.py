"""The four operations over HTTP: every body type and response type, against numpy."""

import base64
import threading
from io import BytesIO
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.codec import write_npy
from service.http import endpoint
from service.http.responses import ResponseParts, render
from service.types import Headers
from tests.conftest import Serve, digit, pixels, png
from tests.support.tiny_models import CODE, SIDE, encode_oracle

Array = NDArray[Any]
NPY, JSON = "application/x-npy", "application/json"


def post(client: TestClient, path: str, body: bytes, kind: str, **headers: str) -> Any:
    return client.post(path, content=body, headers={"content-type": kind, **headers})


def load(blob: bytes) -> Array:
    return np.load(BytesIO(blob), allow_pickle=False)


def b64(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


@pytest.mark.parametrize(
    "kind", ["image/png", "image/x-anything", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_raw_picture_type_is_detected_and_returned(client: TestClient, kind: str) -> None:
    answer = post(client, "/denoise", png(digit()), kind)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert (pixels(answer.content) == 255 - digit()[:, :, 0]).all()
    assert answer.headers["x-model"] == "digits"
    assert answer.headers["x-model-version"] == "1"
    removed = (255 - 2 * digit().astype(float)) / 255
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(np.sqrt(np.mean(removed**2)), rel=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/png")])
def test_response_type_is_the_input_type_or_png(client: TestClient, name: str, kind: str) -> None:
    answer = post(client, "/denoise", png(digit(), name), "image/*")
    assert answer.headers["content-type"] == kind
    assert Image.open(BytesIO(answer.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "image/png"),
        ("image/webp", "image/webp"),
        ("image/*", "image/png"),
        ("image/jpeg;q=0.5, image/webp;q=0.9", "image/webp"),
        ("application/json", JSON),
        ("application/x-npy", NPY),
        ("text/html, */*;q=0.1", "image/png"),
        ("image/png;q=0, */*", "image/jpeg"),
    ],
)
def test_accept_selects_the_response_type(client: TestClient, accept: str, kind: str) -> None:
    assert post(client, "/denoise", png(digit()), "image/png", accept=accept).headers["content-type"] == kind


def test_format_overrides_accept(client: TestClient) -> None:
    answer = post(client, "/denoise?format=json", png(digit()), "image/png", accept="image/png")
    assert answer.headers["content-type"] == JSON


def test_reconstruct_returns_the_error(client: TestClient) -> None:
    answer = post(client, "/reconstruct", png(digit()), "image/png")
    error = np.mean((pixels(answer.content) / 255 - digit()[:, :, 0] / 255) ** 2)
    assert float(answer.headers["x-mse"]) == pytest.approx(error, rel=1e-4)
    assert float(answer.headers["x-psnr"]) == pytest.approx(-10 * np.log10(error), rel=1e-4)
    assert float(answer.headers["x-error-percentile"]) == pytest.approx(
        100 * error, rel=1e-3
    )  # tiny's percentiles are 0..1


def test_same_picture_gets_same_result_in_every_body_type(client: TestClient) -> None:
    blob = png(digit())
    raw = post(client, "/reconstruct", blob, "image/png", accept=JSON).json()["results"]
    form = client.post("/reconstruct", files=[("image", ("a.png", blob, "image/png"))]).json()["results"]
    text = client.post("/reconstruct", json={"images": [b64(blob)]}).json()["results"]
    uri = client.post("/reconstruct", json={"images": ["data:image/png;base64," + b64(blob)]}).json()["results"]
    array = post(client, "/reconstruct", write_npy(digit()[None]), NPY, accept=JSON).json()["results"]
    assert raw == form == text == uri == array


def test_batch_results_keep_order_with_errors_in_place(client: TestClient) -> None:
    images = [b64(png(digit(0))), "!", b64(png(digit(1))), b64(b"\x89PNG\r\n\x1a\n cut")]
    answer = client.post("/reconstruct", json={"images": images})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [set(result) >= {"image", "mse"} for result in results] == [True, False, True, False]
    assert results[1]["error"]["status"] == 422
    one = client.post("/reconstruct", json={"images": images[2:3]}).json()["results"]
    assert results[2] == one[0]


def test_failed_item_fails_a_response_without_item_errors(client: TestClient) -> None:
    body = {"images": [b64(png(digit())), "!"]}
    answer = client.post("/reconstruct", json=body, headers={"accept": NPY})
    assert answer.status_code == 422
    assert "item 1" in answer.json()["detail"]


def test_encode_returns_codes(client: TestClient) -> None:
    answer = post(client, "/encode", png(digit()), "image/png")
    assert answer.json()["operation"] == "encode"
    assert answer.json()["results"][0]["code"] == pytest.approx(encode_oracle(digit()[None])[0], rel=1e-5)
    array = load(post(client, "/encode", png(digit()), "image/png", accept=NPY).content)
    assert array.shape == (1, CODE)
    assert array.dtype == np.float32


def test_npy_is_accepted_and_returned(client: TestClient) -> None:
    batch = np.stack([digit(seed) for seed in range(70)])  # more than a batch: split and joined
    answer = post(client, "/encode", write_npy(batch), NPY)
    assert answer.headers["content-type"] == NPY
    assert load(answer.content) == pytest.approx(encode_oracle(batch), rel=1e-4, abs=1e-5)
    assert (load(post(client, "/denoise", write_npy(batch), NPY).content) == 255 - batch).all()


@pytest.mark.parametrize("dtype", [">f8", "<f4", "<f2"])
def test_float_npy_in_any_byte_order_and_layout_is_accepted(client: TestClient, dtype: str) -> None:
    batch = np.stack([digit(seed) for seed in range(3)])
    floats = np.asfortranarray((batch / 255).astype(dtype))
    assert (load(post(client, "/denoise", write_npy_raw(floats), NPY).content) == 255 - batch).all()


def write_npy_raw(array: Array) -> bytes:
    out = BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_decode_returns_picture_for_one_code_json_for_many(client: TestClient) -> None:
    code = encode_oracle(digit()[None])
    one = client.post("/decode", json={"values": code.tolist()})
    assert one.headers["content-type"] == "image/png"
    many = client.post("/decode", json={"values": [*code.tolist(), *code.tolist()]})
    blobs = [base64.b64decode(result["image"]) for result in many.json()["results"]]
    assert [pixels(blob).tolist() for blob in blobs] == [pixels(one.content).tolist()] * 2
    array = load(post(client, "/decode", write_npy(code), NPY).content)
    assert (array[0, :, :, 0] == pixels(one.content)).all()


def test_vectors_are_accepted_and_returned_as_values(client: TestClient) -> None:
    answer = client.post("/reconstruct?model=points", json={"values": [[1, 2, 3], [0, 0, 1]]}).json()
    assert [result["values"] for result in answer["results"]] == [[0.5, 1, 1.5], [0, 0, 0.5]]
    assert answer["results"][0]["mse"] == pytest.approx((0.25 + 1 + 2.25) / 3)
    codes = client.post("/encode?model=points", json={"values": [[1, 2, 3]]}).json()["results"]
    assert codes[0]["code"] == [1, 2, 3, 0]
    back = client.post("/decode?model=points", json={"values": [[1, 2, 3, 0]]})
    assert back.json()["results"][0]["values"] == [1, 2, 3]


def test_resized_input_is_reported(client: TestClient) -> None:
    picture = np.full((30, 20, 3), (200, 100, 50), np.uint8)
    answer = post(client, "/denoise", png(picture), "image/png")
    assert answer.headers["x-original-size"] == "20x30"
    output = pixels(answer.content)
    assert output.shape == (SIDE, SIDE)  # the model is grey, so is its answer
    assert (output == 255 - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    assert post(client, "/encode", png(picture), "image/png").json()["results"][0]["original_size"] == [20, 30]


def test_any_size_model_keeps_the_picture_size(client: TestClient) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    answer = post(client, "/denoise?model=photos", png(picture), "image/png")
    assert (pixels(answer.content) == 255 - picture).all()
    assert "x-original-size" not in answer.headers
    grey = post(client, "/denoise?model=photos", png(picture[:, :, :1]), "image/png")
    assert (pixels(grey.content) == 255 - picture[:, :, 0]).all()


def test_mixed_sizes_are_returned_as_json_but_not_npy(client: TestClient) -> None:
    blobs = [png(np.zeros((4, side, 3), np.uint8)) for side in (5, 6)]
    body = {"images": [b64(blob) for blob in blobs]}
    results = client.post("/denoise?model=photos", json=body).json()["results"]
    assert [pixels(base64.b64decode(result["image"])).shape for result in results] == [(4, 5, 3), (4, 6, 3)]
    assert client.post("/denoise?model=photos", json=body, headers={"accept": NPY}).status_code == 406


def test_denoise_keeps_alpha_others_composite_on_black(client: TestClient) -> None:
    picture = np.dstack([np.full((SIDE, SIDE, 3), 200, np.uint8), np.full((SIDE, SIDE), 51, np.uint8)])
    output = pixels(post(client, "/denoise", png(picture), "image/png").content)
    assert (output[:, :, 0] == 255 - 200).all()
    assert (output[:, :, 1] == 51).all()
    seen = post(client, "/encode", png(picture), "image/png").json()["results"][0]["code"]
    assert seen == pytest.approx(encode_oracle(np.full((1, SIDE, SIDE, 1), 40, np.uint8))[0], rel=1e-4)


def test_sixteen_bit_input_is_scaled_and_reported(client: TestClient) -> None:
    deep = digit().astype(np.uint16) * 257
    answer = post(client, "/denoise", png(deep), "image/png")
    assert answer.headers["x-original-bit-depth"] == "16"
    assert (pixels(answer.content) == 255 - digit()[:, :, 0]).all()


def test_exif_orientation_is_applied(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.random.default_rng(1).integers(0, 256, (4, 9, 3), np.uint8)
    answer = post(client, "/denoise?model=photos", png(picture, exif=exif), "image/png")
    assert (pixels(answer.content) == 255 - np.rot90(picture, -1)).all()


def test_responses_have_request_id_and_timing(client: TestClient) -> None:
    mine = post(client, "/denoise", png(digit()), "image/png", **{"x-request-id": "my-id.1"})
    assert mine.headers["x-request-id"] == "my-id.1"
    assert [part.split(";")[0] for part in mine.headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "run",
        "encode",
    ]
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    traced = client.get("/livez", headers={"traceparent": trace})
    assert traced.headers["x-request-id"] == trace.split("-")[1]
    evil = client.get("/livez", headers={"x-request-id": "a b\x7f"})
    assert evil.headers["x-request-id"] != "a b\x7f"


def test_default_model_is_set_built_in_or_the_only_candidate(client: TestClient, serve: Serve) -> None:
    plain = serve(default_denoise="")
    assert post(plain, "/encode", png(digit()), "image/png").headers["x-model"] == "digits"
    ambiguous = post(plain, "/denoise", png(digit()), "image/png")
    assert ambiguous.status_code == 400
    assert ambiguous.json()["type"] == "/problems/ambiguous-model"
    assert "digits, photos" in ambiguous.json()["detail"]
    assert post(client, "/denoise", png(digit()), "image/png").headers["x-model"] == "digits"


def test_app_without_dispatcher_responds_alike(client: TestClient) -> None:
    front = cast("Any", client.app)
    inner = TestClient(front.app)
    with inner:
        bare = post(inner, "/denoise", png(digit()), "image/png")
    whole = post(client, "/denoise", png(digit()), "image/png")
    assert bare.content == whole.content
    assert bare.headers["x-model"] == whole.headers["x-model"]


@pytest.mark.parametrize(("count", "accept", "thread"), [(1, JSON, "loop"), (4000, JSON, "pool"), (4000, NPY, "loop")])
def test_large_responses_are_encoded_in_the_pool(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, count: int, accept: str, thread: str
) -> None:
    seen: list[str] = []

    def noted(reply: ResponseParts, kind: str) -> tuple[bytes, Headers]:
        seen.append(threading.current_thread().name)
        return render(reply, kind)

    monkeypatch.setattr(endpoint, "render", noted)
    body = write_npy(np.zeros((count, SIDE, SIDE, 1), np.uint8))
    answer = serve(max_items=4000).post("/denoise", content=body, headers={"content-type": NPY, "accept": accept})
    assert answer.status_code == 200
    assert [name.startswith("pool") for name in seen] == [thread == "pool"]


def test_error_of_large_values_is_finite(client: TestClient) -> None:
    (result,) = client.post("/reconstruct?model=points", json={"values": [[1e20, 0, 0]]}).json()["results"]
    assert result["mse"] == pytest.approx((0.5e20) ** 2 / 3, rel=1e-5)

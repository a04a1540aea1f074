"""Malformed and hostile requests: each gets its problem, and the service stays healthy."""

import base64
import gc
import json
import pickle
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

import service
from service import codec
from service.codec import write_npy
from service.engine.admission import Demand, GraphLoad
from service.errors import Problem, problem_types
from service.http.endpoint import is_cheap_to_parse
from tests.conftest import Serve, digit, png
from tests.support.tiny_models import CODE, SIDE

JSON, NPY, FORM = "application/json", "application/x-npy", "multipart/form-data; boundary=b"
GOOD = png(digit())
LARGE = np.random.default_rng(5).integers(0, 256, (64, 64, 1), np.uint8)
PNG, JPEG = png(LARGE), png(LARGE, "JPEG")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int, height: int) -> bytes:
    """Return a PNG header with any size and almost no data."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))


PROFILE = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20)))


def npy(shape: str, data: bytes, descr: str = "'<f4'") -> bytes:
    """Return an .npy file with an arbitrary header."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def objects() -> bytes:
    out = BytesIO()
    np.save(out, np.array([{}], object), allow_pickle=True)
    return out.getvalue()


def part(name: str, data: bytes, end: bytes = b"--b--\r\n") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="../x"\r\n\r\n'.encode()
    return head + data + b"\r\n" + end


def with_sides(width: int, height: int) -> bytes:
    """Return a JPEG with arbitrary sides in its header."""
    blob = bytearray(JPEG)
    at = blob.index(b"\xff\xc0")
    blob[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(blob)


def without_tables() -> bytes:
    """Return a JPEG without its tables."""
    blob, at = b"\xff\xd8", 2
    while JPEG[at + 1] != 0xDA:
        (size,) = struct.unpack(">H", JPEG[at + 2 : at + 4])
        if JPEG[at + 1] not in (0xDB, 0xC4):
            blob += JPEG[at : at + 2 + size]
        at += 2 + size
    return blob + JPEG[at:]


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


FOREIGN = {
    "TIFF": b"II*\0\x08\0\0\0",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "PSD": b"8BPS\0\1" + b"\0" * 30,
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "PDF": b"%PDF-1.7\n",
    "FITS": b"SIMPLE  =  T",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "ZIP": b"PK\3\4",
    "ELF": b"\x7fELF",
}
ENCODED = base64.b64encode(GOOD).decode()
BASE64 = {
    "the alphabet of addresses": base64.urlsafe_b64encode(b"\xff" * 30).decode(),
    "padding alone": "====",
    "cut": ENCODED[:-3],
    "wide letters": "ａｂｃ",
    "a file's address": "file:///etc/passwd",
    "a path": "/etc/passwd",
    "nothing": "",
}
NO_JSON = {
    "blanks": b"  ",
    "two documents": b"{}{}",
    "a tail": b'{"images":[]} x',
    "a comment": b'{"images":[]/**/}',
    "single quotes": b"{'images':[]}",
    "a trailing comma": b'{"images":["a",]}',
    "a byte order mark": b'\xef\xbb\xbf{"images":["a"]}',
    "UTF-16": '{"images":[]}'.encode("utf-16"),
    "500 levels": b'{"images":' + b"[" * 500 + b"]" * 500 + b"}",
    "half a surrogate": b'{"images":["\\ud800"]}',
}
NO_BODY = {
    "a number": b"1",
    "a string": b'"a"',
    "a list": b"[]",
    "50,000 objects": b'{"images":[' + b"{}," * 50_000 + b"{}]}",
    "100,000 keys": b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}",
    "a prototype": b'{"__proto__":{},"images":["a"]}',
    "a megabyte of no base64": b'{"images":["' + b"?" * (1 << 20) + b'"]}',
}

CASES: list[tuple[str, str, bytes, str, int, str]] = [
    ("empty picture", "/denoise", b"", "image/png", 422, "invalid-image"),
    ("one byte", "/denoise", b"\x89", "image/png", 415, "unsupported-image"),
    ("magic alone", "/denoise", GOOD[:8], "image/png", 422, "invalid-image"),
    *[(f"PNG cut at {at}", "/denoise", PNG[: len(PNG) * at // 10], "", 422, "truncated-image") for at in range(2, 10)],
    *[
        (f"JPEG cut at {at}", "/denoise", JPEG[: len(JPEG) * at // 10], "", 422, "truncated-image")
        for at in range(2, 10)
    ],
    ("HTML called PNG", "/denoise", b"<html></html>", "image/png", 415, "unsupported-image"),
    ("pickle called PNG", "/denoise", pickle.dumps([1]), "image/png", 415, "unsupported-image"),
    ("format not allowed", "/denoise", png(digit(), "BMP"), "image/bmp", 415, "unsupported-image"),
    ("PNG of 900 megapixels", "/denoise", bomb(30000, 30000), "image/png", 413, "image-too-large"),
    ("PNG of 2^31-1 pixels", "/denoise", bomb(2**31 - 1, 1), "image/png", 413, "image-too-large"),
    ("PNG one row over", "/denoise", bomb(2000, 2001), "image/png", 413, "image-too-large"),
    ("PNG of no width", "/denoise", bomb(0, 5), "image/png", 422, "invalid-image"),
    ("JPEG of 3000 scans", "/denoise", JPEG[:-2] + b"\xff\xda\0\x02" * 3000 + JPEG[-2:], "", 422, "invalid-image"),
    ("PNG of 17 colour profiles", "/denoise", GOOD[:33] + PROFILE * 17 + GOOD[33:], "", 422, "invalid-image"),
    ("PNG with a wrong checksum", "/denoise", changed(GOOD, 29, b"\0"), "", 422, "invalid-image"),
    ("JPEG of 65500x65500", "/denoise", with_sides(65500, 65500), "", 413, "image-too-large"),
    ("JPEG of no size", "/denoise", with_sides(0, 0), "", 422, "invalid-image"),
    ("JPEG without tables", "/denoise", without_tables(), "", 422, "invalid-image"),
    ("GIF of 65535x65535", "/denoise", changed(png(digit(), "GIF"), 6, b"\xff" * 4), "", 413, "image-too-large"),
    ("WebP cut", "/denoise", png(digit(), "WEBP")[:-10], "", 422, "truncated-image"),
    *[(name, "/denoise", data, "image/png", 415, "unsupported-image") for name, data in FOREIGN.items()],
    *[
        (f"PNG called {kind}", "/denoise", GOOD, kind, 415, "unsupported-media-type")
        for kind in ("text/plain", "video/mp4", "bogus", ";;;", "*/*", "image/png, image/jpeg", "multipart/mixed")
    ],
    *[
        (f"base64: {name}", "/denoise", json.dumps({"images": [text]}).encode(), JSON, 422, "invalid-image")
        for name, text in BASE64.items()
    ],
    *[(f"no JSON: {name}", "/denoise", data, JSON, 400, "malformed-body") for name, data in NO_JSON.items()],
    *[(f"no body: {name}", "/denoise", data, JSON, 422, "invalid-image") for name, data in NO_BODY.items()],
    ("text", "/denoise", b"hello", "text/plain", 415, "unsupported-media-type"),
    ("backslashes", "/denoise", GOOD, "a;" + "\\" * 8000, 415, "unsupported-media-type"),
    ("JSON cut", "/denoise", b'{"images": [', JSON, 400, "malformed-body"),
    ("JSON of depth 100000", "/denoise", b'{"images":' + b"[" * 100_000, JSON, 400, "malformed-body"),
    ("JSON null", "/denoise", b"null", JSON, 422, "invalid-image"),
    ("JSON without images", "/denoise", b"{}", JSON, 422, "invalid-image"),
    ("JSON of no images", "/denoise", b'{"images": []}', JSON, 422, "invalid-image"),
    ("unknown key", "/denoise", b'{"images": ["aa"], "x": 1}', JSON, 422, "invalid-image"),
    ("bad base64", "/denoise", b'{"images": ["?"]}', JSON, 422, "invalid-image"),
    ("address for a picture", "/denoise", b'{"images": ["http://127.0.0.1/x.png"]}', JSON, 422, "invalid-image"),
    ("values for a picture model", "/denoise", b'{"values": [[1]]}', JSON, 422, "invalid-image"),
    ("NaN", "/decode", b'{"values": [[NaN, 0, 0, 0]]}', JSON, 422, "invalid-array"),
    ("1e999", "/decode", b'{"values": [[1e999, 0, 0, 0]]}', JSON, 422, "invalid-array"),
    ("1e39, no float32", "/decode", b'{"values": [[1e39, 0, 0, 0]]}', JSON, 422, "invalid-array"),
    ("text for numbers", "/decode", b'{"values": [["1", "2", "3", "4"]]}', JSON, 422, "invalid-array"),
    ("true for a number", "/decode", b'{"values": [[true, 0, 0, 0]]}', JSON, 422, "invalid-array"),
    ("ragged rows", "/decode", b'{"values": [[1, 2, 3, 4], [1]]}', JSON, 422, "invalid-array"),
    ("too short a code", "/decode", b'{"values": [[1, 2]]}', JSON, 422, "invalid-array"),
    ("million digits", "/decode", b'{"values": [[' + b"1" * 1_000_000 + b", 0, 0, 0]]}", JSON, 400, "malformed-body"),
    ("picture to decode", "/decode", GOOD, "image/png", 415, "unsupported-media-type"),
    ("objects in npy", "/encode", objects(), NPY, 422, "invalid-array"),
    ("npy of 16 GiB", "/encode", npy("(65536, 65536)", b""), NPY, 400, "malformed-body"),
    ("npy of 2^62", "/encode", npy("(4611686018427387904,)", b""), NPY, 400, "malformed-body"),
    ("npy of negative side", "/encode", npy("(-1, 4)", b""), NPY, 400, "malformed-body"),
    ("npy of two negative sides", "/encode", npy("(-2, -2)", b"x" * 16), NPY, 400, "malformed-body"),
    ("npy of a side that is true", "/encode", npy("(True, 4)", b"x" * 16), NPY, 400, "malformed-body"),
    ("npy of no rows", "/encode", npy(f"(0, {SIDE}, {SIDE}, 1)", b""), NPY, 422, "invalid-array"),
    ("npy of no dimensions", "/encode", npy("()", b"x" * 4), NPY, 422, "invalid-array"),
    ("npy of ten dimensions", "/encode", npy("(" + "1, " * 10 + ")", b"x" * 4), NPY, 422, "invalid-array"),
    ("npy cut", "/encode", write_npy(digit()[None])[:-1], NPY, 400, "malformed-body"),
    ("npy with a tail", "/encode", write_npy(digit()[None]) + b"x", NPY, 400, "malformed-body"),
    ("npy of text", "/encode", npy("(4,)", b"x" * 16, "'<U1'"), NPY, 422, "invalid-array"),
    ("npy of wrong shape", "/encode", write_npy(digit()), NPY, 422, "invalid-array"),
    ("npy of wrong type", "/encode", write_npy(digit()[None].astype(np.int32)), NPY, 422, "invalid-array"),
    ("npy of 2.0", "/encode", write_npy(np.full((1, SIDE, SIDE, 1), 2.0)), NPY, 422, "invalid-array"),
    ("npy of NaN", "/encode", write_npy(np.full((1, SIDE, SIDE, 1), np.nan)), NPY, 422, "invalid-array"),
    ("npy of infinite codes", "/decode", write_npy(np.full((1, CODE), np.inf)), NPY, 422, "invalid-array"),
    ("no npy at all", "/encode", b"\x93NUMPY", NPY, 400, "malformed-body"),
    ("multipart without boundary", "/denoise", part("image", GOOD), "multipart/form-data", 400, "malformed-body"),
    ("multipart cut", "/denoise", part("image", GOOD, b""), FORM, 400, "malformed-body"),
    ("multipart of another field", "/denoise", part("picture", GOOD), FORM, 400, "invalid-parameter"),
    ("multipart of an empty file", "/denoise", part("image", b""), FORM, 422, "invalid-image"),
    ("unknown model", "/denoise?model=nobody", GOOD, "", 404, "model-not-found"),
    ("model outside", "/denoise?model=../../etc", GOOD, "", 404, "model-not-found"),
    ("unknown version", "/denoise?version=9", GOOD, "", 404, "model-not-found"),
    ("version of letters", "/denoise?version=one", GOOD, "", 400, "invalid-parameter"),
    ("version 0", "/denoise?version=0", GOOD, "", 400, "invalid-parameter"),
    ("unknown parameter", "/denoise?modle=digits", GOOD, "", 400, "invalid-parameter"),
    ("parameter twice", "/denoise?model=a&model=b", GOOD, "", 400, "invalid-parameter"),
    ("unknown format", "/denoise?format=bmp", GOOD, "", 400, "invalid-parameter"),
    ("operation not offered", "/encode?model=photos", GOOD, "", 409, "operation-not-supported"),
    ("unknown path", "/nothing", GOOD, "", 404, "not-found"),
    ("wrong method", "/models", GOOD, "", 405, "method-not-allowed"),
]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "problem"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_malformed_request_gets_its_problem_and_no_leak(
    client: TestClient, path: str, body: bytes, kind: str, status: int, problem: str
) -> None:
    answer = client.post(path, content=body, headers={"content-type": kind})
    document = answer.json()
    assert (answer.status_code, document["type"]) == (status, f"/problems/{problem}"), document
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["instance"] == answer.headers["x-request-id"]
    assert len(answer.content) < 4096
    assert client.post("/denoise", content=GOOD).status_code == 200


def animated(kind: str) -> bytes:
    first, *others = (Image.fromarray(digit(seed).squeeze(-1)) for seed in range(20))
    out = BytesIO()
    first.save(out, kind, save_all=True, append_images=others)
    return out.getvalue()


TALL, WIDE = (np.random.default_rng(0).integers(0, 256, sides, np.uint8) for sides in ((65535, 1, 1), (1, 65535, 1)))
ODD = {
    "a PNG with a tail": (GOOD + b"<script>" * 10, GOOD),
    "a JPEG with a tail": (JPEG + b"PK\3\4" * 9, JPEG),
    "an animated PNG": (animated("PNG"), GOOD),
    "an animated GIF": (animated("GIF"), png(digit(), "GIF")),
    "a broken profile": (png(digit(), icc_profile=b"x" * 100), GOOD),
}


@pytest.mark.parametrize("name", ODD)
def test_unusual_pictures_get_the_same_response(client: TestClient, name: str) -> None:
    odd, plain = (client.post("/denoise?format=npy", content=data) for data in ODD[name])
    assert odd.status_code == plain.status_code == 200
    assert odd.content == plain.content


@pytest.mark.parametrize("pixels", [np.zeros((1, 1, 1), np.uint8), np.zeros((3, 3, 1), np.uint8), TALL, WIDE])
def test_pictures_with_extreme_sides_are_fitted(client: TestClient, pixels: NDArray[np.uint8]) -> None:
    assert client.post("/denoise", content=png(pixels)).status_code == 200


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "image/png;q=0", "nonsense"])
def test_unacceptable_accept_lists_available_types(client: TestClient, accept: str) -> None:
    answer = client.post("/encode", content=GOOD, headers={"accept": accept})
    assert answer.status_code == 406
    assert "application/json" in answer.json()["detail"]


def test_content_encoding_is_rejected(client: TestClient) -> None:
    assert client.post("/denoise", content=GOOD, headers={"content-encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_operations_accept_post_only(client: TestClient, method: str) -> None:
    answer = client.request(method, "/denoise")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def leaked_frames(action: Callable[[], None]) -> set[str]:
    """Run `action` and return the functions of the service whose frames only the cycle collector would free."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        action()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        frames = [kept for kept in gc.garbage if isinstance(kept, FrameType)]
        package = Path(service.__file__).parent
        return {frame.f_code.co_qualname for frame in frames if Path(frame.f_code.co_filename).is_relative_to(package)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


def test_rejected_requests_leave_no_reference_cycles(client: TestClient) -> None:
    """An exception in a reference cycle keeps its frames, and these keep the body, until a rare collection."""

    def send_bad_requests() -> None:
        for _, path, body, kind, _, _ in CASES:
            client.post(path, content=body, headers={"content-type": kind} if kind else {})
        client.post("/denoise", json={"images": ["aa", "aa"]})  # status 200, with a problem for each item

    assert leaked_frames(send_bad_requests) == set()


def test_planted_reference_cycle_is_detected() -> None:
    def plant() -> None:
        try:
            codec.read_npy(b"no array")
        except Problem as error:
            error.args = (error,)

    assert "read_npy" in leaked_frames(plant)


def test_rejects_body_over_limit_while_reading(serve: Serve) -> None:
    client = serve(max_body_bytes=1000)
    answer = client.post("/denoise", content=(b"x" * 100 for _ in range(10_000)))
    assert answer.json()["type"] == "/problems/body-too-large"
    announced = client.post("/denoise", content=GOOD, headers={"content-length": str(1 << 40)})
    assert announced.status_code == 413
    assert client.post("/denoise", content=GOOD).status_code == 200


def test_invalid_number_is_named_by_its_position(client: TestClient) -> None:
    answer = client.post(
        "/decode", content=b'{"values": [[0, 0, 0, 0], [0, "1", 0, 0]]}', headers={"content-type": JSON}
    )
    assert answer.json()["detail"] == "values.1.1: Input should be a valid number"


def test_too_many_items_are_rejected_in_every_body_type(serve: Serve) -> None:
    client = serve(max_items=2)
    array = write_npy(np.zeros((3, SIDE, SIDE, 1), np.uint8))
    answers = [
        client.post("/denoise", content=array, headers={"content-type": NPY}),
        client.post("/denoise", json={"images": ["aa", "aa", "aa"]}),
        client.post("/denoise", files=[("image", GOOD)] * 3),
    ]
    assert [answer.json()["type"] for answer in answers] == ["/problems/too-many-items"] * 3


def test_jpeg_scan_limit_is_a_setting(serve: Serve) -> None:
    scans = png(LARGE, "JPEG", progressive=True)
    assert scans.count(b"\xff\xda") > 3
    statuses = [serve(max_jpeg_scans=most).post("/denoise", content=scans).status_code for most in (3, 100)]
    assert statuses == [422, 200]


def test_request_over_inflight_limit_gets_retry_after(serve: Serve) -> None:
    client = serve(max_inflight_items=1)
    state = client.app_state["service"]
    state.admission.acquire(Demand(1, 0, GraphLoad(), 1), 1)
    answer = client.post("/denoise", content=GOOD)
    state.admission.release(Demand(1, 0, GraphLoad(), 1))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert client.post("/denoise", content=GOOD).status_code == 200


@pytest.mark.parametrize(("model", "work"), [("digits", 1), ("photos", SIDE * SIDE * 3)])
def test_request_that_would_time_out_is_rejected_first(serve: Serve, model: str, work: int) -> None:
    client = serve()
    path = f"/denoise?model={model}"
    assert client.post(path, content=GOOD).status_code == 200
    line = client.app_state["service"].store.snapshot.loaded[model].runners["denoise"].load
    assert line.throughput > 0  # the first run sets the throughput
    for _ in range(10):
        line.acquire(work, 1e9)
    line.throughput = work  # one a second
    refused = client.post(path, content=GOOD, headers={"x-request-timeout": "5"})
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
    assert refused.headers["retry-after"] == "10"
    assert client.post(path, content=GOOD).status_code == 200  # thirty seconds are enough
    assert line.requests == 10


def test_timed_out_request_gets_504_and_never_runs(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(request_timeout=0.05)
    runner = client.app_state["service"].store.snapshot.loaded["digits"].runners["denoise"]
    monkeypatch.setattr(runner.scheduler, "_free_runners", 0)  # no runner becomes free
    answer = client.post("/denoise", content=GOOD)
    assert answer.json()["type"] == "/problems/deadline-exceeded"
    assert client.app_state["service"].admission.items == 0


@pytest.mark.parametrize("text", ["nan", "-1", "0", "1e400", "9" * 400, "soon", "", "1e-400"])
def test_invalid_timeout_is_rejected(client: TestClient, text: str) -> None:
    answer = client.post("/denoise", content=GOOD, headers={"x-request-timeout": text})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")


def test_client_timeout_only_shortens_the_limit(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(request_timeout=0.5)
    runner = client.app_state["service"].store.snapshot.loaded["digits"].runners["denoise"]
    assert client.post("/denoise", content=GOOD, headers={"x-request-timeout": "5"}).status_code == 200
    monkeypatch.setattr(runner.scheduler, "_free_runners", 0)
    for asked, said in [("1e-6", "1e-06 s"), ("0.1", "0.1 s"), ("100", "0.5 s")]:
        answer = client.post("/denoise", content=GOOD, headers={"x-request-timeout": asked})
        assert (answer.status_code, answer.json()["detail"]) == (504, f"not done within {said}")
    assert client.app_state["service"].admission.items == 0


def test_failing_graph_reveals_only_a_request_id(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    runner = client.app_state["service"].store.snapshot.loaded["digits"].runners["denoise"]

    def fail(_: Any) -> Any:
        raise RuntimeError("secret path /etc/shadow")

    monkeypatch.setattr(runner.scheduler, "_run", fail)
    answer = client.post("/denoise", content=GOOD)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_problem_types_are_unique() -> None:
    kinds = list(problem_types())
    assert len({kind.type for kind in kinds}) == len(kinds) > 15
    assert all(400 <= kind.status < 600 and kind.title for kind in kinds)


@pytest.mark.parametrize("make", [lambda: b"\0" * 5, lambda: b"\x80\x04]", lambda: b"PK\x03\x04"])
def test_pickled_npy_is_rejected(client: TestClient, make: Callable[[], bytes]) -> None:
    assert client.post("/encode", content=make(), headers={"content-type": NPY}).status_code == 400


def test_repeated_headers_are_joined(client: TestClient) -> None:
    accepts = [("accept", "application/json"), ("accept", "text/html;q=0.5"), ("content-type", "image/png")]
    answer = client.post("/denoise", content=GOOD, headers=accepts)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    packed = [("content-encoding", "gzip"), ("content-encoding", "identity"), ("content-type", "image/png")]
    assert client.post("/denoise", content=GOOD, headers=packed).status_code == 415


SPECIAL = png(np.random.default_rng(6).integers(0, 256, (200, 200, 3), np.uint8), "WEBP", lossless=True)
LONG = png(np.random.default_rng(6).integers(0, 256, (200, 200, 3), np.uint8))


@pytest.mark.parametrize(
    ("body", "kind", "soon"),
    [
        (GOOD, "image/png", True),
        (LONG, "image/png", True),
        (LONG, "", False),  # any content
        (LONG[:33] + PROFILE + LONG[33:], "image/png", False),  # Pillow decompresses parts of the header
        (SPECIAL, "image/webp", False),
        (LONG * 12, "image/png", False),
        (bytes(1 << 17), NPY, True),
        (bytes(1 << 17), JSON, False),
    ],
)
def test_only_cheap_bodies_are_parsed_on_the_event_loop(body: bytes, kind: str, soon: bool) -> None:
    assert is_cheap_to_parse(body, kind) == soon

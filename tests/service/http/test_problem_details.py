"""Every problem says what to change: parameters are named, and unavailability comes with a time to retry."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.codec import write_npy
from service.errors import Problem, problem_types
from service.http.parameters import TIMEOUT_HEADER, Parameters, parameter_names
from service.http.problems import problem_response
from tests.conftest import Serve, digit, png
from tests.support.compatibility import accepts, refuses
from tests.support.tiny_models import publish

IMAGE = png(digit())
NPY = "application/x-npy"


@accepts(17, "`Retry-After` on every 429 and 503", oracle="the table of problems")
@pytest.mark.parametrize("kind", [kind for kind in problem_types() if kind.status in (429, 503)])
def test_problem_that_passes_says_when_to_retry(kind: type[Problem]) -> None:
    headers = dict(problem_response(kind("reason"), "id").headers)
    assert int(headers[b"retry-after"]) > 0
    chosen = dict(problem_response(kind("reason", headers={"retry-after": "7"}), "id").headers)
    assert chosen[b"retry-after"] == b"7"


@pytest.mark.parametrize("kind", [kind for kind in problem_types() if kind.status not in (429, 503)])
def test_problem_that_stays_asks_for_no_retry(kind: type[Problem]) -> None:
    assert b"retry-after" not in dict(problem_response(kind("reason"), "id").headers)


@accepts(17, "`Retry-After` of a rejected version", oracle="the response")
def test_rejected_version_says_when_to_retry(tmp_path: Path, serve: Serve) -> None:
    publish(tmp_path, "digits")
    folder = tmp_path / "digits" / "2"
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    client = serve(models_dir=tmp_path)
    answer = client.post("/denoise?model=digits&version=2", content=IMAGE)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/model-rejected")
    assert answer.json()["detail"].startswith("version: 2 of digits was rejected: ")
    assert int(answer.headers["retry-after"]) > 0
    assert client.post("/denoise?model=digits", content=IMAGE).status_code == 200


@accepts(17, "`Retry-After` of a process that is not ready or draining", oracle="the response")
def test_unready_and_draining_processes_say_when_to_retry(tmp_path: Path, serve: Serve) -> None:
    empty = serve(models_dir=tmp_path)
    draining = serve()
    assert draining.get("/readyz").headers.get("retry-after") is None
    draining.app_state["service"].shutting_down = True
    for client in (empty, draining):
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0


@accepts(17, "`Retry-After` of a failed `/livez`", oracle="the response")
def test_failed_liveness_says_when_to_retry(serve: Serve) -> None:
    client = serve()
    watchdog = client.app_state["service"].watchdog
    assert watchdog is not None
    watchdog.failure = "a run hangs"
    answer = client.get("/livez")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


NAMED: list[tuple[str, str, int]] = [
    ("model", "/denoise?model=nobody", 404),
    ("model", "/encode?model=photos", 409),
    ("version", "/denoise?version=9", 404),
    ("version", "/denoise?version=x", 400),
    ("version", "/denoise?version=0", 400),
    ("format", "/denoise?format=bmp", 400),
    ("format", "/encode?format=png", 406),
    ("strength", "/denoise?strength=2.5", 400),
    ("strength", "/denoise?strength=x", 400),
    ("strength", "/denoise?strength=", 400),
    ("grayscale", "/denoise?grayscale=2", 400),
    ("metadata", "/denoise?metadata=all", 400),
    ("truncated", "/denoise?truncated=maybe", 400),
    ("quality", "/denoise?quality=0", 400),
    ("quality", "/denoise?quality=high", 400),
    ("quality", "/denoise?format=png&quality=80", 400),
    ("map", "/reconstruct?map=maybe", 400),
    *((name, f"/denoise?{name}=1&{name}=1", 400) for name in parameter_names("denoise")),
    *((name, f"/denoise?{name}=%00", 404 if name == "model" else 400) for name in parameter_names("denoise")),
]


def test_every_parameter_is_tried() -> None:
    assert {name for name, _, _ in NAMED} == set(Parameters.model_fields)


@refuses(
    17, "invalid values of every parameter", because="the error begins with the name of the parameter", cases="{path}"
)
@pytest.mark.parametrize(("name", "path", "status"), NAMED)
def test_error_of_a_parameter_names_it(client: TestClient, name: str, path: str, status: int) -> None:
    answer = client.post(path, content=IMAGE)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(f"{name}: ")


def test_other_errors_of_parameters_name_them(client: TestClient, serve: Serve) -> None:
    array = write_npy(np.stack([digit()]))
    answer = client.post("/denoise?grayscale=1", content=array, headers={"content-type": NPY})
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (400, "grayscale")
    answer = client.post("/denoise", content=IMAGE, headers={TIMEOUT_HEADER: "soon"})
    assert (answer.status_code, TIMEOUT_HEADER in answer.json()["detail"]) == (400, True)
    answer = client.post("/encode", content=IMAGE, headers={"accept": "image/png"})
    assert (answer.status_code, "Accept" in answer.json()["detail"]) == (406, True)
    answer = serve(default_denoise="").post("/denoise", content=IMAGE)
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (400, "model")
    answer = serve(default_denoise="nobody").post("/denoise", content=IMAGE)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "model: the default model of the service cannot be used: "
        "HOURGLASS_DEFAULT_DENOISE is nobody, but there is no such "
        "model; there are digits, photos, points; name a model",
    )


@refuses(14, "a `Content-Encoding`", because="415 with `Accept-Encoding: identity`")
def test_compressed_body_is_refused_with_what_is_accepted(client: TestClient) -> None:
    for encoding in ("gzip", "br", "deflate", "zstd", "gzip, identity", "aws-chunked", "base64"):
        answer = client.post("/denoise", content=IMAGE, headers={"content-encoding": encoding})
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
        assert "Content-Encoding" in answer.json()["detail"]
    for encoding in ("identity", "Identity", ""):
        assert client.post("/denoise", content=IMAGE, headers={"content-encoding": encoding}).status_code == 200


GENERIC = [
    "binary/octet-stream",
    "application/x-binary",
    "application/octet-stream; charset=binary",
    "application/binary",
]
IMAGES = ["image/jpg", "image/pjpeg", "image/x-png", "IMAGE/PNG", "image/jpeg; charset=binary", "image/png;", "image/*"]
TWICE = ["image/png, image/png", "image/png; q=1"]


@accepts(14, "`Content-Type` of images", oracle="status and type of the response", cases="{kind}")
@pytest.mark.parametrize("kind", [*GENERIC, *IMAGES, *TWICE])
def test_content_type_as_clients_spell_it_is_an_image(client: TestClient, kind: str) -> None:
    answer = client.post("/denoise", content=IMAGE, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


@accepts(14, "`Content-Type` of JSON", oracle="status of the response", cases="{kind}")
@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "text/json", "application/x-json", "application/vnd.api+json"]
)
def test_content_type_as_clients_spell_it_is_json(client: TestClient, kind: str) -> None:
    assert (
        client.post("/decode", content=b'{"values": [[0, 0, 0, 0]]}', headers={"content-type": kind}).status_code == 200
    )


@accepts(14, "`Content-Type` of .npy", oracle="status of the response", cases="{kind}")
@pytest.mark.parametrize(
    "kind", ["application/x-npy", "application/npy", "application/x-numpy; version=1", "Application/X-NPY"]
)
def test_content_type_as_clients_spell_it_is_npy(client: TestClient, kind: str) -> None:
    assert client.post("/denoise", content=write_npy(digit()[None]), headers={"content-type": kind}).status_code == 200


@accepts(14, "`Accept`", oracle="type of the response", cases="{accept}")
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("IMAGE/WEBP", "image/webp"),
        ("image/x-png", "image/png"),
        ("text/html, image/gif, *; q=.2, */*; q=.2", "image/png"),
        ("text/json", "application/json"),
        ("application/numpy", "application/x-npy"),
    ],
)
def test_accept_as_clients_spell_it_is_understood(client: TestClient, accept: str, kind: str) -> None:
    assert client.post("/denoise", content=IMAGE, headers={"accept": accept}).headers["content-type"] == kind

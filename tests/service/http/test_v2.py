"""The Open Inference Protocol over HTTP: documents, tensors in JSON and binary, raw bodies, compression and control."""

import asyncio
import base64
import gzip
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service.auth import new_key
from service.engine.batcher import Batcher, PendingRequest
from service.oip.requests import parse_request
from service.oip.tensors import raw_bytes, to_array
from tests.conftest import Serve, digit, png
from tests.support.tiny_models import CODE, FEATURES, SIDE, encode_oracle, publish

Array = NDArray[Any]
LENGTH = "Inference-Header-Content-Length"
DENOISE = "/v2/models/digits.denoise/infer"
ENCODE = "/v2/models/digits.encode/infer"
VECTOR = "/v2/models/points.reconstruct/infer"


def digits(count: int = 2) -> Array:
    """Return pictures for the tiny digits model: uint8 N,H,W,1."""
    return np.stack([digit(seed) for seed in range(count)])


def tensor(array: Array, name: str = "image", **changes: Any) -> dict[str, Any]:
    """Return an input whose data are in the JSON part."""
    kinds = {"uint8": "UINT8", "float32": "FP32", "float64": "FP64"}
    entry = {"name": name, "datatype": kinds[array.dtype.name], "shape": array.shape, "data": array.tolist()}
    return {name: value for name, value in (entry | changes).items() if value is not None}


def binary(array: Array, name: str = "image", **changes: Any) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a request with one raw tensor; `changes` replace members of the JSON part."""
    size = {"binary_data_size": array.nbytes}
    header = json.dumps({"inputs": [tensor(array, name, data=None, parameters=size)], **changes}).encode()
    return header + array.tobytes(), {LENGTH: str(len(header))}


def output(response: httpx2.Response) -> Array:
    """Return the only output of a response."""
    assert response.status_code == 200, response.text
    length = int(response.headers.get(LENGTH, len(response.content)))
    (entry,) = json.loads(response.content[:length])["outputs"]
    dtype = {"UINT8": np.uint8, "FP32": np.float32}[entry["datatype"]]
    if "data" in entry:
        return np.array(entry["data"], dtype).reshape(entry["shape"])
    assert entry["parameters"]["binary_data_size"] == len(response.content) - length
    return np.frombuffer(response.content[length:], dtype).reshape(entry["shape"])


def test_server_and_health(client: TestClient) -> None:
    described = client.get("/v2").json()
    assert described["name"] == "hourglass"
    assert {"binary_tensor_data", "statistics", "schedule_policy"} <= set(described["extensions"])
    assert "model_repository" not in described["extensions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True, "live": True}
    assert client.get("/v2/models/digits.denoise/ready").json() == {"name": "digits.denoise", "ready": True}
    assert client.get("/v2/models/digits.denoise/versions/1/ready").status_code == 200


def test_without_models_the_server_is_not_ready(serve: Serve, tmp_path: Path) -> None:
    assert serve(models_dir=tmp_path).get("/v2/health/ready").status_code == 503


def test_metadata_and_config_describe_the_graph(client: TestClient) -> None:
    image = {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
    assert client.get("/v2/models/photos.denoise").json() == {
        "name": "photos.denoise",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [image],
        "outputs": [image | {"name": "out"}],
    }
    config = client.get("/v2/models/digits.encode/versions/1/config").json()
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [SIDE, SIDE, 1]}]
    assert config["output"] == [{"name": "code", "data_type": "TYPE_FP32", "dims": [CODE]}]
    assert config["max_batch_size"] == 1024


def test_index_lists_every_operation_as_a_model(client: TestClient) -> None:
    expected = {f"digits.{name}" for name in ("encode", "decode", "reconstruct", "denoise")} | {"photos.denoise"}
    expected |= {f"points.{name}" for name in ("encode", "decode", "reconstruct")}
    assert set(client.get("/v2/models").json()["models"]) == expected
    index = client.post("/v2/repository/index").json()
    assert {entry["name"] for entry in index} == expected
    assert all((entry["version"], entry["state"], entry["reason"]) == ("1", "READY", "") for entry in index)
    assert client.post("/v2/repository/index", json={"ready": True}).json() == index


def test_index_gives_reasons_of_versions_that_are_not_ready(serve: Serve, tmp_path: Path) -> None:
    publish(tmp_path, "photos", version=1)
    publish(tmp_path, "photos", version=2)
    (publish(tmp_path, "photos", version=3) / "denoise.onnx").write_bytes(b"")
    client = serve(models_dir=tmp_path)
    states = {(it["name"], it["version"]): it for it in client.post("/v2/repository/index").json()}
    assert states["photos.denoise", "2"]["state"] == "READY"
    assert states["photos.denoise", "1"]["state"] == "UNAVAILABLE"
    assert "SHA-256" in states["photos", "3"]["reason"]
    assert client.get("/v2/models/photos.denoise").json()["versions"] == ["1", "2"]
    assert output(
        client.post(
            "/v2/models/photos.denoise/versions/1/infer", json={"inputs": [tensor(np.zeros((1, 2, 3, 3), np.uint8))]}
        )
    ).all()
    assert client.get("/v2/models/photos.denoise/versions/3/ready").status_code == 503
    assert client.get("/v2/models/photos.denoise/versions/4/ready").status_code == 404


@pytest.mark.parametrize("flat", [False, True])
def test_json_tensors_in_and_out(client: TestClient, flat: bool) -> None:
    images = digits()
    data = images.ravel().tolist() if flat else images.tolist()
    response = client.post(ENCODE, json={"id": "7", "inputs": [tensor(images, data=data)]})
    assert response.headers["content-type"] == "application/json"
    assert {name: response.json()[name] for name in ("model_name", "model_version", "id")} == {
        "model_name": "digits.encode",
        "model_version": "1",
        "id": "7",
    }
    assert np.allclose(output(response), encode_oracle(images), atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "out", "parameters": {"binary_data": True}}]},
    ],
)
def test_binary_tensors_in_and_out(client: TestClient, how: dict[str, Any]) -> None:
    images = digits()
    body, headers = binary(images, **how)
    response = client.post(DENOISE, content=body, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    assert (output(response) == 255 - images).all()


def test_binary_and_json_may_be_mixed(client: TestClient) -> None:
    images = digits()
    body, headers = binary(
        images, outputs=[{"name": "out", "parameters": {"binary_data": False}}], parameters={"binary_data_output": True}
    )
    assert LENGTH not in client.post(DENOISE, content=body, headers=headers).headers
    request = {"inputs": [tensor(images)], "outputs": [{"name": "out", "parameters": {"binary_data": True}}]}
    text = json.dumps(request).encode()
    response = client.post(DENOISE, content=text, headers={LENGTH: str(len(text))})
    assert LENGTH in response.headers
    assert (output(response) == 255 - images).all()


def test_vectors_are_float32(client: TestClient) -> None:
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    body, headers = binary(rows, "vector")
    assert (output(client.post(VECTOR, content=body, headers=headers)) == rows / 2).all()
    raw = client.post(VECTOR, content=rows.tobytes(), headers={LENGTH: "0"})
    assert (output(raw) == rows / 2).all()
    assert rows.shape[1] == FEATURES


def test_image_file_as_raw_body(client: TestClient) -> None:
    image = digit()
    response = client.post(DENOISE, content=png(image), headers={LENGTH: "0"})
    assert (output(response) == 255 - image[np.newaxis]).all()


def test_image_files_as_bytes_tensor(client: TestClient) -> None:
    images = digits()
    files = [png(image) for image in images]
    data = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    entry = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [entry]}).encode()
    response = client.post(DENOISE, content=header + data, headers={LENGTH: str(len(header))})
    assert (output(response) == 255 - images).all()


def test_image_files_as_base64_in_json(client: TestClient) -> None:
    image = digit()
    data = [base64.b64encode(png(image)).decode()]
    request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}]}
    assert (output(client.post(DENOISE, json=request)) == 255 - image).all()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(client: TestClient, encoding: str) -> None:
    images = np.zeros((32, SIDE, SIDE, 1), np.uint8)
    body, headers = binary(images, parameters={"binary_data_output": True})
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    sent = {**headers, "Content-Encoding": encoding, "Accept-Encoding": encoding}
    response = client.post(DENOISE, content=packed, headers=sent)
    assert response.headers["content-encoding"] == encoding
    assert int(response.headers["content-length"]) < images.size
    assert (output(response) == 255).all()
    sent["Accept-Encoding"] = f"{encoding};q=0"
    assert "content-encoding" not in client.post(DENOISE, content=packed, headers=sent).headers


def test_strength_blends_as_over_http(client: TestClient) -> None:
    image = digit()
    request = {"inputs": [tensor(image[np.newaxis])], "parameters": {"strength": 0.5}}
    blended = output(client.post(DENOISE, json=request))
    assert np.abs(blended.astype(int) - 127.5).max() <= 0.5


def test_statistics_count_requests_items_and_batches(serve: Serve) -> None:
    client = serve()
    for count in (1, 2, 2):
        client.post(DENOISE, json={"inputs": [tensor(digits(count))]})
    client.post("/denoise?model=digits", content=png(digit()))
    client.post(DENOISE, json={"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]}]})
    (stats,) = client.get("/v2/models/digits.denoise/stats").json()["model_stats"]
    assert (stats["inference_count"], stats["execution_count"]) == (6, 4)
    assert stats["inference_stats"]["success"]["count"] == 4
    assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]} == {1: 2, 2: 2}
    times = {name: value["ns"] for name, value in stats["inference_stats"].items()}
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    assert times["success"] == pytest.approx(sum(times[name] for name in stages), abs=10)
    assert {entry["name"] for entry in client.get("/v2/models/stats").json()["model_stats"]} >= {"points.encode"}
    text = client.get("/metrics").text
    labels = 'code="200",model="digits",protocol="v2",route="/v2/models/{name}/infer"'
    assert f"hourglass_requests_total{{{labels}}} 3.0" in text


def test_request_ids_and_timings_are_those_of_http(client: TestClient) -> None:
    response = client.post(DENOISE, json={"inputs": [tensor(digits())]}, headers={"X-Request-ID": "abc"})
    assert response.headers["x-request-id"] == "abc"
    assert response.headers["server-timing"].startswith("decode;dur=")


JSON_ERRORS: dict[str, dict[str, Any]] = {
    "no inputs": {"inputs": []},
    "name of another model": {"inputs": [tensor(digits())], "model_name": "digits.encode"},
    "unknown field": {"inputs": [tensor(digits())], "extra": 1},
    "unknown input": {"inputs": [tensor(digits(), "picture")]},
    "two inputs of one name": {"inputs": [tensor(digits()), tensor(digits())]},
    "unknown output": {"inputs": [tensor(digits())], "outputs": [{"name": "other"}]},
    "two outputs of one name": {"inputs": [tensor(digits())], "outputs": [{"name": "out"}, {"name": "out"}]},
    "negative side": {"inputs": [tensor(digits(), shape=[-1, SIDE, SIDE, 1])]},
    "huge sides": {"inputs": [tensor(digits(), shape=[2**31 - 1] * 4)]},
    "overflowing side": {"inputs": [tensor(digits(), shape=[2**63, 1, 1, 1])]},
    "too few data": {"inputs": [tensor(digits(), data=[1, 2])]},
    "ragged data": {"inputs": [tensor(digits(), data=[[1], [2, 3]])]},
    "too large a number": {"inputs": [tensor(digits(1), data=[256] * SIDE * SIDE)]},
    "text as a number": {"inputs": [tensor(digits(1), data=["1"] * SIDE * SIDE)]},
    "null as a number": {"inputs": [tensor(digits(1), data=[None] * SIDE * SIDE)]},
    "batch of 0": {"inputs": [tensor(digits(), shape=[0, SIDE, SIDE, 1], data=[])]},
    "shape of another model": {"inputs": [tensor(np.zeros((1, 4, 4, 3), np.uint8))]},
    "too many items": {"inputs": [tensor(np.zeros((1025, SIDE, SIDE, 1), np.uint8))]},
    "unknown datatype": {"inputs": [tensor(digits(), datatype="UINT9")]},
    "neither data nor size": {"inputs": [tensor(digits(), data=None)]},
    "both data and size": {"inputs": [tensor(digits(), parameters={"binary_data_size": 4})]},
    "unknown parameter": {"inputs": [tensor(digits())], "parameters": {"temperature": 1}},
    "sequence": {"inputs": [tensor(digits())], "parameters": {"sequence_id": 4}},
    "negative timeout": {"inputs": [tensor(digits())], "parameters": {"timeout": -1}},
    "shared memory": {"inputs": [tensor(digits(), data=None, parameters={"shared_memory_region": "a"})]},
    "image is empty": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]}]},
    "image is no base64": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["?"]}]},
    "wrong number of images": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["aaaa"]}]},
}


@pytest.mark.parametrize("case", JSON_ERRORS)
def test_invalid_json_requests_get_one_clear_error(client: TestClient, case: str) -> None:
    response = client.post(DENOISE, json=JSON_ERRORS[case])
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert 10 < len(response.json()["error"]) < 400
    assert (output(client.post(DENOISE, json={"inputs": [tensor(digits())]})) == 255 - digits()).all()


NUMBER = b'{"inputs":[{"name":"vector","datatype":"FP32","shape":[1,3],"data":[1,2,%s]}]}'
GOOD, GOOD_HEADERS = binary(digits())
RAW_ERRORS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "no JSON": (DENOISE, b"{", {}),
    "deep JSON": (DENOISE, b'{"inputs":' + b"[" * 100_000, {}),
    "not a number": (VECTOR, NUMBER % b"NaN", {}),
    "infinite": (VECTOR, NUMBER % b"Infinity", {}),
    "too large for float32": (VECTOR, NUMBER % b"1e39", {}),
    "too large for float64": (VECTOR, NUMBER % b"1e999", {}),
    "infinite raw": (VECTOR, np.full(3, np.inf, np.float32).tobytes(), {LENGTH: "0"}),
    "header beyond the body": (DENOISE, GOOD, {LENGTH: str(len(GOOD) + 1)}),
    "header length negative": (DENOISE, GOOD, {LENGTH: "-1"}),
    "header length no number": (DENOISE, GOOD, {LENGTH: "1e3"}),
    "tensor cut off": (DENOISE, GOOD[:-1], GOOD_HEADERS),
    "trailing bytes": (DENOISE, GOOD + b"x", GOOD_HEADERS),
    "raw body of another size": (VECTOR, b"12345", {LENGTH: "0"}),
    "raw body empty": (DENOISE, b"", {LENGTH: "0"}),
    "body empty": (DENOISE, b"", {}),
    "raw body is no image": (DENOISE, b"nothing", {LENGTH: "0"}),
    "no gzip": (DENOISE, GOOD, {**GOOD_HEADERS, "Content-Encoding": "gzip"}),
    "gzip cut off": (DENOISE, gzip.compress(GOOD)[:-9], {**GOOD_HEADERS, "Content-Encoding": "gzip"}),
    "unknown encoding": (DENOISE, GOOD, {**GOOD_HEADERS, "Content-Encoding": "br"}),
}


@pytest.mark.parametrize("case", RAW_ERRORS)
def test_invalid_bodies_get_one_clear_error(client: TestClient, case: str) -> None:
    path, body, headers = RAW_ERRORS[case]
    response = client.post(path, content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert client.post(DENOISE, content=GOOD, headers=GOOD_HEADERS).status_code == 200


def test_bytes_element_longer_than_its_tensor_is_a_400(client: TestClient) -> None:
    data = (2**32 - 1).to_bytes(4, "little") + b"abc"
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [entry]}).encode()
    response = client.post(DENOISE, content=header + data, headers={LENGTH: str(len(header))})
    assert response.status_code == 400
    assert "longer than the tensor" in response.json()["error"]


def test_compressed_bomb_is_rejected_by_what_comes_out(serve: Serve) -> None:
    client = serve(max_body_bytes=1 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 70_000
    response = client.post(DENOISE, content=bomb, headers={LENGTH: "0", "Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert "1048576 bytes" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody.denoise", 404),
        ("GET", "/v2/models/digits", 404),
        ("GET", "/v2/models/photos.encode", 404),
        ("GET", "/v2/models/digits.denoise/versions/2", 404),
        ("GET", "/v2/models/digits.denoise/versions/x", 400),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/digits.denoise/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("POST", "/v2/repository/models/digits.denoise/load", 403),
        ("POST", "/v2/repository/models/digits.denoise/unload", 403),
    ],
)
def test_errors_have_the_status_codes_of_triton(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert ("allow" in response.headers) == (status == 405)


def test_waiting_longer_than_the_timeout_is_a_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def expired(batcher: Batcher, loop: Any, *_: Any) -> None:
        (level,) = batcher._waiting.turn()
        request: PendingRequest = level[0].item
        assert request.timer
        assert request.timer.when() - loop.time() <= 0.25
        request.expire()
        batcher._scheduled = False
        batcher._next_batch()

    with monkeypatch.context() as patch:
        patch.setattr(Batcher, "_start", expired)
        request = {"inputs": [tensor(digits())], "parameters": {"timeout": 250_000}}
        response = client.post(DENOISE, json=request)
    assert response.status_code == 503
    assert "timeout" in response.json()["error"]
    assert response.headers["retry-after"]
    assert client.post(DENOISE, content=GOOD, headers=GOOD_HEADERS).status_code == 200


def test_keys_of_an_operation_give_access_to_its_models(serve: Serve, tmp_path: Path) -> None:
    key, line = new_key("camera")
    (tmp_path / "keys").write_text(f"{line} denoise\n")
    client = serve(api_keys_file=tmp_path / "keys")
    assert client.get("/v2/health/ready").status_code == 200
    refused = client.get("/v2/models/digits.denoise")
    assert (refused.status_code, list(refused.json())) == (401, ["error"])
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/v2/models/digits.denoise", headers=headers).status_code == 200
    assert client.post(DENOISE, content=GOOD, headers={**headers, **GOOD_HEADERS}).status_code == 200
    assert client.post(ENCODE, content=GOOD, headers={**headers, **GOOD_HEADERS}).status_code == 403
    assert client.post("/v2/repository/index", headers=headers).status_code == 403


def test_models_are_unloaded_and_loaded_by_a_key(serve: Serve, tmp_path: Path) -> None:
    key, line = new_key("operator")
    (tmp_path / "keys").write_text(f"{line}\n")
    client = serve(api_keys_file=tmp_path / "keys", enable_model_control=True)
    assert client.post("/v2/repository/models/digits.denoise/unload").status_code == 401
    client.headers["X-API-Key"] = key
    assert "model_repository" in client.get("/v2").json()["extensions"]
    assert client.post("/v2/repository/models/digits.denoise/unload").status_code == 200
    assert client.get("/v2/models/digits.denoise/ready").status_code == 404
    assert client.get("/v2/models/digits.encode/ready").status_code == 200
    states = {it["name"]: it for it in client.post("/v2/repository/index").json()}
    assert (states["digits.denoise"]["state"], states["digits.denoise"]["reason"]) == ("UNAVAILABLE", "unloaded")
    assert client.post("/denoise?model=digits", content=png(digit())).status_code == 409
    override = {"parameters": {"file:1/model.onnx": "AAAA"}}
    assert client.post("/v2/repository/models/digits.denoise/load", json=override).status_code == 400
    assert client.post("/v2/repository/models/digits.denoise/load").status_code == 200
    assert client.post(DENOISE, content=GOOD, headers=GOOD_HEADERS).status_code == 200
    assert client.post("/v2/repository/models/nobody/load").status_code == 404


def test_paths_work_behind_a_prefix_and_with_a_slash(serve: Serve) -> None:
    client = serve(root_path="/models-api")
    for path in ("/models-api/v2/models/digits.denoise", "/v2/models/digits.denoise/", "/models-api//v2/health/live"):
        assert client.get(path).status_code == 200, path


def test_uint8_tensors_are_not_copied() -> None:
    images = np.zeros((1, 64, 64, 3), np.uint8)
    body, headers = binary(images)
    array = to_array(parse_request(body, int(headers[LENGTH])).inputs[0])
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert np.shares_memory(np.frombuffer(raw_bytes(images), np.uint8), images)


def test_a_megapixel_tensor_is_copied_once_at_most(serve: Serve) -> None:
    client = serve(tile_memory_mib=16)
    images = np.zeros((1, 1000, 1000, 3), np.uint8)
    body, headers = binary(images, parameters={"binary_data_output": True})
    messages = [body[start : start + (1 << 16)] for start in range(0, len(body), 1 << 16)]
    pairs = [(b"content-length", b"%d" % len(body)), (LENGTH.lower().encode(), headers[LENGTH].encode())]
    scope = {"type": "http", "method": "POST", "path": "/v2/models/photos.denoise/infer", "root_path": ""}
    scope |= {"query_string": b"", "headers": pairs, "state": dict(client.app_state)}
    sent: list[Any] = []
    received = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(received, None)
        if message is None:
            await asyncio.Event().wait()  # the client stays connected
        return {"type": "http.request", "body": message, "more_body": message is not messages[-1]}

    async def send(message: Any) -> None:
        sent.append(message)

    async def scene() -> int:
        tracemalloc.start()
        await client.app(scope, receive, send)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert client.portal is not None
    peak = client.portal.call(scene)
    assert (sent[0]["status"], len(sent[-1]["body"])) == (200, images.nbytes)
    assert peak / images.nbytes < 2.5  # the joined body, the output, and what one tile needs


@pytest.mark.parametrize("query", ["strength=0.5", "model=photos", "nonsense"])
@pytest.mark.parametrize("path", [DENOISE, "/v2/repository/index"])
def test_query_parameters_are_refused(client: TestClient, path: str, query: str) -> None:
    answer = client.post(f"{path}?{query}", json={"inputs": [tensor(digits())]})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("this path takes no query parameters; the parameters of a request are in")


@pytest.mark.parametrize(("name", "value"), [("strength", 1), ("strength", 0.5), ("sigma", 5)])
def test_parameters_of_other_operations_are_refused(client: TestClient, name: str, value: float) -> None:
    vector = tensor(np.zeros((1, FEATURES), np.float32), "input")
    answer = client.post(VECTOR, json={"inputs": [vector], "parameters": {name: value}})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        f"{name}: only denoise removes noise, and not reconstruct; it takes the parameters priority, timeout and "
        "binary_data_output",
    )


def test_wrong_name_of_an_input_is_named(client: TestClient) -> None:
    answer = client.post(DENOISE, json={"inputs": [tensor(digits(), "pixels")]})
    assert answer.json()["error"] == "the model has one input, image, and the request has pixels"


def test_image_as_the_body_is_told_what_is_expected(client: TestClient) -> None:
    said = client.post(DENOISE, content=png(digit())).json()["error"]
    assert said.startswith('the body is an image, not JSON such as {"inputs": [{"name": "image", "shape": [1]')
    assert said.endswith("send an image as it is to /denoise?model=digits")
    example = json.loads(
        said[said.index("{") : said.index("; send")].replace("BASE64", base64.b64encode(png(digit())).decode())
    )
    assert client.post(DENOISE, json=example).status_code == 200
    said = client.post(VECTOR, content=png(digit())).json()["error"]
    assert said == "the body is an image, and points.reconstruct takes no images; send JSON with inputs"

"""The same requests get the same answers from other servers of the Open Inference Protocol, and perf_analyzer measures.

MLServer speaks the protocol's JSON, KServe's model server its binary tensors. Both compute what the tiny models do.
"""

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.environments import environment
from tests.support.processes import free_port, serving

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[1] / "support" / "oip_peers"
START_SECONDS = 300
RANDOM = np.random.default_rng(5)
ARRAYS: dict[str, NDArray[Any]] = {
    "photos.denoise": RANDOM.integers(0, 256, (3, 4, 5, 3), np.uint8),
    "points.reconstruct": RANDOM.normal(size=(3, 3)).astype(np.float32),
}
INPUTS = {"photos.denoise": ("image", "UINT8"), "points.reconstruct": ("vector", "FP32")}
HEADER = "Inference-Header-Content-Length"


@contextmanager
def peer(name: str) -> Generator[str]:
    """Run another server, and yield its address once it is ready."""
    port = free_port()
    command = [str(environment(name)), str(PEERS / f"{name}_peer.py"), str(port)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    end = monotonic() + START_SECONDS
    try:
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert monotonic() < end, f"{name} was not ready within {START_SECONDS} s"
            try:
                if httpx2.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200:
                    break
            except httpx2.TransportError:
                sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(models: Path, grpc_port: int) -> Generator[str]:
    with serving(models, "--grpc-port", str(grpc_port)) as (address, _):
        yield address


def request_body(model: str, count: int, **parts: Any) -> dict[str, Any]:
    """Return the JSON of a request with `count` items of the model's array."""
    name, datatype = INPUTS[model]
    array = ARRAYS[model][:count]
    return {"inputs": [{"name": name, "shape": list(array.shape), "datatype": datatype} | parts]}


def json_requests() -> list[tuple[str, dict[str, Any]]]:
    """Return models and valid requests: flat and nested data, one and several items, an id, a chosen output."""
    requests: list[tuple[str, dict[str, Any]]] = []
    for model, array in ARRAYS.items():
        for count in (1, 3):
            flat = request_body(model, count, data=array[:count].ravel().tolist())
            nested = request_body(model, count, data=array[:count].tolist())
            requests += [(model, flat), (model, nested), (model, flat | {"id": "42", "outputs": [{"name": "out"}]})]
    return requests


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the protocol fixes of an answer; the numbers as a flat list of the tensor's own precision."""
    (output,) = answer["outputs"]
    data = np.array(output["data"], np.float32 if output["datatype"] == "FP32" else np.uint8).ravel().tolist()
    fixed = {key: output[key] for key in ("name", "shape", "datatype")}
    return {"model_name": answer["model_name"], "data": data, **fixed}


def test_json_answers_equal_those_of_mlserver(service: str) -> None:
    with peer("mlserver") as other:
        for model, body in json_requests():
            ours, theirs = (httpx2.post(f"{at}/v2/models/{model}/infer", json=body) for at in (service, other))
            assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
            assert comparable(ours.json()) == comparable(theirs.json())
            if "id" in body:
                assert ours.json()["id"] == theirs.json()["id"] == "42"
        for method, path, body in (("GET", "", None), ("POST", "/infer", json_requests()[0][1])):
            ours, theirs = (
                httpx2.request(method, f"{at}/v2/models/nothing{path}", json=body) for at in (service, other)
            )
            assert ours.status_code == theirs.status_code == 404
            assert "error" in ours.json()
            assert "error" in theirs.json()


def post_binary(address: str, model: str, count: int) -> tuple[dict[str, Any], bytes]:
    """Send the model's array as binary data, and return the JSON part and the bytes of the answer."""
    raw = ARRAYS[model][:count].tobytes()
    body = request_body(model, count, parameters={"binary_data_size": len(raw)})
    head = json.dumps(body | {"id": "7", "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
    answer = httpx2.post(f"{address}/v2/models/{model}/infer", content=head + raw, headers=headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[HEADER])
    return json.loads(answer.content[:length]), answer.content[length:]


def test_binary_answers_equal_those_of_kserve(service: str) -> None:
    with peer("kserve") as other:
        for model in ARRAYS:
            for count in (1, 3):
                (ours, our_bytes), (theirs, their_bytes) = (post_binary(at, model, count) for at in (service, other))
                assert our_bytes == their_bytes
                assert ours["id"] == theirs["id"] == "7"
                for key in ("name", "shape", "datatype", "parameters"):
                    assert ours["outputs"][0][key] == theirs["outputs"][0][key]


def perf_analyzer(*flags: str) -> list[str]:
    """Run perf_analyzer to its end, and return the only row of its table: concurrency, inferences per second, ..."""
    folder = environment("perf_analyzer").parents[1]
    libraries = ":".join(str(path) for path in folder.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))
    env = {**os.environ, "LD_LIBRARY_PATH": libraries}
    program = str(folder / "bin" / "perf_analyzer")
    started = subprocess.run([program, "--version"], capture_output=True, text=True, env=env, check=False)
    if started.returncode == 127:  # Debian has a library that it needs in libb64-0d
        pytest.skip(f"perf_analyzer cannot run here: {started.stderr.strip()}")
    with TemporaryDirectory() as table:
        command = [program, "-f", f"{table}/table.csv", "--concurrency-range", "2", "-s", "999", "-r", "3", *flags]
        command += ["--measurement-mode", "count_windows", "--measurement-request-count", "20"]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "error" not in done.stderr.lower()
        return (Path(table) / "table.csv").read_text().splitlines()[1].split(",")


@pytest.mark.parametrize("transport", ["binary", "json", "grpc"])
@pytest.mark.parametrize("model", ARRAYS)
def test_perf_analyzer_measures(service: str, grpc_port: int, model: str, transport: str) -> None:
    flags = ["-m", model, "-b", "4", "-u", service.removeprefix("http://")]
    flags += ["--shape", "image:4,5,3"] if model == "photos.denoise" else []
    flags += (
        ["-i", "grpc", "-u", f"127.0.0.1:{grpc_port}"] if transport == "grpc" else ["--input-tensor-format", transport]
    )
    concurrency, rate, *_ = perf_analyzer(*flags)
    assert int(concurrency) == 2
    assert float(rate) > 0


@pytest.mark.parametrize("model", ARRAYS)
def test_calls_of_perf_analyzer_are_answered(service: str, model: str) -> None:
    """Replay what perf_analyzer 2.51.0 sends: metadata, configuration, statistics, binary and JSON inference."""
    at = f"{service}/v2/models/{model}"
    name, datatype = INPUTS[model]
    assert {"binary_tensor_data", "model_configuration", "statistics"} <= set(
        httpx2.get(f"{service}/v2").json()["extensions"]
    )
    metadata, config = httpx2.get(at).json(), httpx2.get(f"{at}/config").json()
    assert metadata["inputs"] == [{"name": name, "datatype": datatype, "shape": [-1, *config["input"][0]["dims"]]}]
    assert config["max_batch_size"] > 0
    assert config["input"][0]["data_type"] == f"TYPE_{datatype}"
    before = httpx2.get(f"{at}/stats").json()["model_stats"][0]
    post_binary(service, model, 3)
    flat = request_body(model, 1, data=ARRAYS[model][:1].ravel().tolist())
    assert httpx2.post(f"{at}/infer", json=flat).status_code == 200
    after = httpx2.get(f"{at}/stats").json()["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 2
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]

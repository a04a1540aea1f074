"""tritonclient[http], synchronous: python triton_http.py ADDRESS FILE.png FILE.npy KEY."""

import sys

import numpy as np
import tritonclient.http as triton

address, picture, array, key = sys.argv[1:]
images = np.load(array)
headers = {"Authorization": f"Bearer {key}"}
# The client adds its own headers to the dictionary, so each request needs a new one.
client = triton.InferenceServerClient(address.removeprefix("http://"), concurrency=4)
NAME = "digits.denoise"


def tensor(values: np.ndarray, name: str = "image", *, binary: bool = True) -> triton.InferInput:
    kind = {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}[values.dtype.name]
    entry = triton.InferInput(name, values.shape, kind)
    entry.set_data_from_numpy(values, binary_data=binary)
    return entry


def check(result: triton.InferResult) -> None:
    assert (result.as_numpy("out") == 255 - images).all()
    assert result.get_response()["model_name"] == NAME


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(NAME, headers=dict(headers))
assert client.is_model_ready(NAME, "1", headers=dict(headers))
assert "binary_tensor_data" in client.get_server_metadata(headers=dict(headers))["extensions"]
assert client.get_model_metadata(NAME, headers=dict(headers))["inputs"][0]["datatype"] == "UINT8"
assert client.get_model_config(NAME, headers=dict(headers))["max_batch_size"] == 1024
assert {"name": NAME, "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index(
    headers=dict(headers)
)

for binary in (True, False):
    check(client.infer(NAME, [tensor(images, binary=binary)], headers=dict(headers)))
    output = triton.InferRequestedOutput("out", binary_data=binary)
    check(
        client.infer(NAME, [tensor(images)], outputs=[output], request_id="7", model_version="1", headers=dict(headers))
    )
for algorithm in ("gzip", "deflate"):
    options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    check(client.infer(NAME, [tensor(images)], headers=dict(headers), **options))
check(client.infer(NAME, [tensor(images)], priority=1, timeout=5_000_000, headers=dict(headers)))
check(client.async_infer(NAME, [tensor(images)], headers=dict(headers)).get_result())

file = np.array([open(picture, "rb").read()], np.object_)
assert client.infer("photos.denoise", [tensor(file)], headers=dict(headers)).as_numpy("out").shape[-1] == 3
rows = np.arange(6, dtype=np.float32).reshape(2, 3)
halves = client.infer("points.reconstruct", [tensor(rows, "vector")], headers=dict(headers)).as_numpy("out")
assert (halves == rows / 2).all()

stats = client.get_inference_statistics(NAME, headers=dict(headers))["model_stats"][0]
assert stats["inference_stats"]["success"]["count"] == 8
assert stats["inference_count"] == 8 * len(images)

client.unload_model(NAME, headers=dict(headers))
assert not client.is_model_ready(NAME, headers=dict(headers))
client.load_model(NAME, headers=dict(headers))
assert client.is_model_ready(NAME, headers=dict(headers))

for wrong in (tensor(images[:, :4]), tensor(images, "other"), tensor(images.astype(np.float32) * 3)):
    try:
        client.infer(NAME, [wrong], headers=dict(headers))
    except triton.InferenceServerException as error:
        assert error.status() == "400"
        assert len(error.message()) > 10
    else:
        raise AssertionError("no error")
try:
    client.infer(NAME, [tensor(images)])
except triton.InferenceServerException as error:
    assert error.status() == "401"
else:
    raise AssertionError("no error")
check(client.infer(NAME, [tensor(images)], headers=dict(headers)))
print("passed")

"""tritonclient[grpc], with streaming: python triton_grpc.py ADDRESS FILE.png FILE.npy KEY."""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton

address, picture, array, key = sys.argv[1:]
images = np.load(array)
headers = {"authorization": f"Bearer {key}"}
client = triton.InferenceServerClient(address)
NAME = "digits.denoise"


def tensor(values: np.ndarray, name: str = "image") -> triton.InferInput:
    kind = {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}[values.dtype.name]
    entry = triton.InferInput(name, values.shape, kind)
    entry.set_data_from_numpy(values)
    return entry


def check(result: triton.InferResult) -> None:
    assert (result.as_numpy("out") == 255 - images).all()


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(NAME, headers=headers)
assert not client.is_model_ready("nobody.encode", headers=headers)
assert client.get_server_metadata(headers=headers).name == "hourglass"
assert client.get_model_metadata(NAME, headers=headers).inputs[0].datatype == "UINT8"
assert client.get_model_config(NAME, headers=headers).config.max_batch_size == 1024
assert NAME in {model.name for model in client.get_model_repository_index(headers=headers).models}

check(client.infer(NAME, [tensor(images)], headers=headers))
outputs = [triton.InferRequestedOutput("out")]
options = {"request_id": "7", "model_version": "1", "priority": 1, "timeout": 5_000_000, "client_timeout": 30}
result = client.infer(NAME, [tensor(images)], outputs=outputs, headers=headers, **options)
check(result)
assert result.get_response().id == "7"
check(client.infer(NAME, [tensor(images)], headers=headers, compression_algorithm="gzip"))
file = np.array([open(picture, "rb").read()], np.object_)
assert client.infer("photos.denoise", [tensor(file)], headers=headers).as_numpy("out").shape[-1] == 3

answers: "queue.Queue[tuple[object, object]]" = queue.Queue()
client.async_infer(NAME, [tensor(images)], lambda result, error: answers.put((result, error)), headers=headers)
result, error = answers.get(timeout=20)
assert error is None
check(result)

client.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
for number in range(50):
    name = "digits.nothing" if number == 25 else NAME
    client.async_stream_infer(name, [tensor(images)], request_id=str(number), enable_empty_final_response=True)
for number in range(50):
    result, error = answers.get(timeout=20)
    assert (error is not None) == (number == 25), error
    if error is None:
        check(result)
        assert result.get_response().id == str(number)
        assert result.get_response().parameters["triton_final_response"].bool_param
client.stop_stream()

stats = client.get_inference_statistics(NAME, headers=headers).model_stats[0]
assert stats.inference_stats.success.count >= 53
client.unload_model(NAME, headers=headers)
assert not client.is_model_ready(NAME, headers=headers)
client.load_model(NAME, headers=headers)

for wrong in (tensor(images[:, :4]), tensor(images, "other")):
    try:
        client.infer(NAME, [wrong], headers=headers)
    except triton.InferenceServerException as error:
        assert error.status() == "StatusCode.INVALID_ARGUMENT"
    else:
        raise AssertionError("no error")
try:
    client.infer(NAME, [tensor(images)])
except triton.InferenceServerException as error:
    assert error.status() == "StatusCode.UNAUTHENTICATED"
else:
    raise AssertionError("no error")
check(client.infer(NAME, [tensor(images)], headers=headers))
print("passed")

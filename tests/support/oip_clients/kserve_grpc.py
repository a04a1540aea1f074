"""KServe's InferenceGRPCClient: python kserve_grpc.py ADDRESS FILE.png FILE.npy KEY."""

import asyncio
import sys

import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient

address, picture, array, key = sys.argv[1:]
images = np.load(array)
NAME = "digits.denoise"


async def main() -> None:
    client = InferenceGRPCClient(address, timeout=30)
    headers = [("authorization", f"Bearer {key}")]
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(NAME, headers=headers)
    for binary in (False, True):
        entry = InferInput("image", list(images.shape), "UINT8")
        entry.set_data_from_numpy(images, binary_data=binary)
        request = InferRequest(model_name=NAME, infer_inputs=[entry], request_id="7")
        answer = await client.infer(request, headers=headers)
        assert (answer.outputs[0].as_numpy() == 255 - images).all()
    await client.close()


asyncio.run(main())
print("passed")

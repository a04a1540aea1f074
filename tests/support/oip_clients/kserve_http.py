"""KServe's InferenceRESTClient: python kserve_http.py ADDRESS FILE.png FILE.npy KEY."""

import asyncio
import sys

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

address, picture, array, key = sys.argv[1:]
images = np.load(array)
NAME = "digits.denoise"


async def main() -> None:
    headers = {"Authorization": f"Bearer {key}"}
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(address)
    assert await client.is_server_ready(address)
    assert await client.is_model_ready(address, NAME, headers=headers)
    for binary in (False, True):
        entry = InferInput("image", list(images.shape), "UINT8")
        entry.set_data_from_numpy(images, binary_data=binary)
        request = InferRequest(model_name=NAME, infer_inputs=[entry], request_id="7")
        if binary:
            output = RequestedOutput("out", parameters={"binary_data": True})
            request = InferRequest(model_name=NAME, infer_inputs=[entry], request_outputs=[output])
        answer = await client.infer(address, request, model_name=NAME, headers=headers)
        assert isinstance(answer, InferResponse)
        out: InferOutput = answer.outputs[0]
        assert (out.as_numpy() == 255 - images).all()


asyncio.run(main())
print("passed")

"""tritonclient[http], asynchronous: python triton_aio.py ADDRESS FILE.png FILE.npy KEY."""

import asyncio
import sys

import numpy as np
import tritonclient.http.aio as triton

address, picture, array, key = sys.argv[1:]
images = np.load(array)
NAME = "digits.denoise"


async def main() -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with triton.InferenceServerClient(address.removeprefix("http://")) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(NAME, headers=dict(headers))
        assert (await client.get_model_metadata(NAME, headers=dict(headers)))["name"] == NAME

        async def infer(binary: bool, **options: str) -> None:
            entry = triton.InferInput("image", images.shape, "UINT8")
            entry.set_data_from_numpy(images, binary_data=binary)
            result = await client.infer(NAME, [entry], headers=dict(headers), **options)
            assert (result.as_numpy("out") == 255 - images).all()

        await asyncio.gather(*(infer(number % 2 == 0) for number in range(16)))
        for algorithm in ("gzip", "deflate"):
            await infer(True, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)


asyncio.run(main())
print("passed")

"""MLServer with the same two models as the tests: `mlserver_peer.py PORT`."""

import asyncio
import sys

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Inverter(MLModel):
    """Inverts UINT8 images."""

    async def load(self):
        return True

    async def predict(self, payload):
        return answer(self.name, payload, 255 - NumpyCodec.decode_input(payload.inputs[0]))


class Halver(MLModel):
    """Halves FP32 vectors."""

    async def load(self):
        return True

    async def predict(self, payload):
        return answer(self.name, payload, NumpyCodec.decode_input(payload.inputs[0]) * np.float32(0.5))


def answer(name, payload, array):
    return InferenceResponse(model_name=name, id=payload.id, outputs=[NumpyCodec.encode_output("out", array)])


if __name__ == "__main__":
    settings = Settings(
        debug=False, host="127.0.0.1", http_port=int(sys.argv[1]), grpc_port=0, metrics_port=0, parallel_workers=0
    )
    models = [
        ModelSettings(name="photos.denoise", implementation=Inverter),
        ModelSettings(name="points.reconstruct", implementation=Halver),
    ]

    async def main():
        await MLServer(settings).start(models)

    asyncio.run(main())

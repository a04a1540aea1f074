"""KServe's model server with the same two models as the tests: `kserve_peer.py PORT`."""

import sys

import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer


class Peer(Model):
    """A model that applies a function to its only input, and answers in binary."""

    def __init__(self, name, function, datatype):
        super().__init__(name)
        self.function, self.datatype, self.ready = function, datatype, True

    async def predict(self, payload, headers=None, response_headers=None):
        array = self.function(payload.inputs[0].as_numpy())
        output = InferOutput(name="out", shape=list(array.shape), datatype=self.datatype)
        output.set_data_from_numpy(array, binary_data=True)
        return InferResponse(
            response_id=payload.id,
            model_name=self.name,
            infer_outputs=[output],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


if __name__ == "__main__":
    models = [
        Peer("photos.denoise", lambda image: 255 - image, "UINT8"),
        Peer("points.reconstruct", lambda vector: vector * np.float32(0.5), "FP32"),
    ]
    ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False).start(models)

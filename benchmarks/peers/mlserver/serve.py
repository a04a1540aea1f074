"""MLServer: a custom runtime in the server's own process, uvloop and httptools, access log off, not batched (slower).

Follows MLServer's "Custom Inference Runtimes" and "Settings" (https://mlserver.readthedocs.io/en/latest/).
"""

import argparse
import asyncio
import os

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


class Denoiser(MLModel):
    """A denoiser with the graph at the URI of the model."""

    async def load(self) -> bool:
        """A denoiser with one onnxruntime session of one thread."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = self.settings.parameters.uri
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.graph_input, self.graph_output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the restored pictures of the first tensor."""
        pixels = NumpyCodec.decode_input(payload.inputs[0])
        (restored,) = self.session.run(None, {self.graph_input: pixels})
        output = NumpyCodec.encode_output(self.graph_output, restored)
        return InferenceResponse(model_name=self.name, outputs=[output])


def serve(graph: str, port: int) -> None:
    """Serve as `mlserver start` does, without settings files."""
    settings = Settings(debug=False, host="127.0.0.1", http_port=port, grpc_port=0, metrics_port=0, parallel_workers=0)
    model = ModelSettings(name="denoise", implementation="serve.Denoiser", parameters=ModelParameters(uri=graph))
    install_uvloop_event_loop()

    async def run() -> None:
        await MLServer(settings).start([model])  # it installs signal handlers on the running loop

    asyncio.run(run())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    serve(options.graph, options.port)

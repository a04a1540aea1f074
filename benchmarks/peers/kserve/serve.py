"""KServe's Python server: a custom model behind the Open Inference Protocol, one worker, no gRPC, no access log.

Follows KServe's "Custom Predictor" (https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor).
"""

import argparse
import logging
import os

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


class Denoiser(Model):
    """A denoiser with one onnxruntime session of one thread."""

    def __init__(self, graph: str) -> None:
        super().__init__("denoise")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.graph_input, self.graph_output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        self.ready = True

    async def predict(
        self,
        payload: InferRequest,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's signature
        response_headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> InferResponse:
        """Return the restored pictures of the first tensor."""
        (restored,) = self.session.run(None, {self.graph_input: payload.inputs[0].as_numpy()})
        output = InferOutput(name=self.graph_output, shape=list(restored.shape), datatype="UINT8")
        output.set_data_from_numpy(restored, binary_data=False)
        return InferResponse(response_id=payload.id or generate_uuid(), model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    server = ModelServer(http_port=options.port, workers=1, enable_grpc=False, enable_latency_logging=False)
    for chatty in ("uvicorn.access", "kserve.trace"):  # access logs would add to the measured time
        logging.getLogger(chatty).setLevel(logging.WARNING)
    server.start([Denoiser(options.graph)])

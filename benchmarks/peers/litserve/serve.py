"""LitServe: a LitAPI with request batching, one worker on the CPU; the fast queue is off, on one core it is slower.

Follows LitServe's "Batching" (https://lightning.ai/docs/litserve/features/batching) and "Request, response format".
"""

import argparse
import io
import multiprocessing
import os
import signal
from typing import Any

import litserve as ls
import numpy as np
from fastapi import Request, Response
from PIL import Image

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


class Denoiser(ls.LitAPI):
    """Denoise the picture of a form, with batches of requests that arrive within 10 ms."""

    def __init__(self, graph: str, **options: Any) -> None:
        super().__init__(**options)
        self.graph = graph

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Create the session of one thread in the worker."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request: Request) -> np.ndarray:
        """Return the pixels with a last axis of one grey channel."""
        return np.asarray(Image.open(request["image"].file).convert("L"))[:, :, np.newaxis]

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Stack the waiting requests."""
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Run the batch."""
        return self.session.run(None, {self.name: batch})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """Split the batch by request."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> Response:
        """Encode the picture as PNG."""
        out = io.BytesIO()
        Image.fromarray(output[:, :, 0]).save(out, "PNG")
        return Response(out.getvalue(), media_type="image/png")


def end(*_: object) -> None:
    """End the workers too, which LitServe does not do on this signal."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    api = Denoiser(options.graph, api_path="/denoise", max_batch_size=32, batch_timeout=0.01)
    signal.signal(signal.SIGTERM, end)
    server = ls.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)

"""A deployment on a local Ray cluster; it ends when its standard input is closed. Started by serve.py."""

import argparse
import io
import os
import secrets
import signal
import sys
import threading
from pathlib import Path

os.environ |= {
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else it leaves one in ~/.ray
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
}

import numpy as np
import onnxruntime as ort
import ray
from PIL import Image
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 1})
class Denoiser:
    """A denoiser with one onnxruntime session of one thread."""

    def __init__(self, graph: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    async def __call__(self, request: Request) -> Response:
        """Denoise a PNG; a GET reports readiness, because Ray's own health check passes too early."""
        if request.method == "GET":
            return Response()
        pixels = np.asarray(Image.open(io.BytesIO(await request.body())).convert("L"))
        (restored,) = self.session.run(None, {self.name: pixels[np.newaxis, :, :, np.newaxis]})
        out = io.BytesIO()
        Image.fromarray(restored[0, :, :, 0]).save(out, "PNG")
        return Response(out.getvalue(), media_type="image/png")


def run(graph: str, port: int) -> None:
    """Run a local cluster until standard input is closed."""
    threading.Thread(target=end_with_input, daemon=True).start()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Denoiser.bind(graph), route_prefix="/denoise", logging_config={"enable_access_log": False})
    signal.pause()  # Ray's handler of SIGTERM ends this process and its children


def end_with_input() -> None:
    """Wait in a thread, because the cluster may still be starting."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    run(str(Path(options.graph).resolve()), options.port)

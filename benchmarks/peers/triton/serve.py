"""Triton through PyTriton: a Python callable with Triton's dynamic batching, binary uint8 tensors over HTTP.

Follows PyTriton's "Binding models to Triton" and "Dynamic batching" (https://triton-inference-server.github.io/pytriton/).
"""

import argparse
import os
import signal
import socket
import sysconfig

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


def free_port() -> int:
    """Return a free port for the metrics, which would use a fixed one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(graph: str, port: int) -> None:
    """Serve until SIGTERM, which stops Triton too."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    (graph_input,), (graph_output,) = session.get_inputs(), session.get_outputs()

    @batch
    def denoise(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {graph_output.name: session.run(None, {graph_input.name: inputs[graph_input.name]})[0]}

    # Triton's Python stub must load the libpython of this interpreter, not that of the system.
    os.environ["LD_LIBRARY_PATH"] = ":".join(
        filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
    )
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        allow_grpc=False,
        metrics_address="127.0.0.1",
        metrics_port=free_port(),
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="denoise",
            infer_func=denoise,
            inputs=[Tensor(name=graph_input.name, dtype=np.uint8, shape=tuple(graph_input.shape[1:]))],
            outputs=[Tensor(name=graph_output.name, dtype=np.uint8, shape=tuple(graph_output.shape[1:]))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=100)),
        )
        triton.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(options.graph, options.port)

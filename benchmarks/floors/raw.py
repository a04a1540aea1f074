"""onnxruntime alone, one thread: items per second of a graph at one batch size. Runs as a process on one core."""

import os
import sys
import time

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


def rate(graph: str, items: np.ndarray, seconds: float) -> float:
    """Return items per second, after a warm-up of a tenth of the time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for limit in (seconds / 10, seconds):
        runs, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < limit or not runs:
            session.run(None, {name: items})
            runs += 1
    return runs * len(items) / spent


if __name__ == "__main__":
    print(rate(sys.argv[1], np.load(sys.argv[2]), float(sys.argv[3])))

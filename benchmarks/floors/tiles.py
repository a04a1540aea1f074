"""onnxruntime alone on tiles of a picture: megapixels per second. Runs as a process on the cores of the server."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


def rate(graph: str, height: int, width: int, threads: int, callers: int, seconds: float) -> float:
    """Return megapixels per second of concurrent callers with a number of threads per run, after a warm-up."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    image, *controls = session.get_inputs()
    tile = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    feeds = {image.name: tile, **{control.name: np.ones(1, np.float32) for control in controls}}

    def call(limit: float) -> tuple[int, float]:
        runs, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < limit or not runs:
            session.run(None, feeds)
            runs += 1
        return runs, spent

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, [0.0] * callers))
        counts = list(pool.map(call, [seconds] * callers))
    return sum(runs / spent for runs, spent in counts) * height * width / 1e6


if __name__ == "__main__":
    tall, wide, each, at_once = (int(word) for word in sys.argv[2:6])
    print(rate(sys.argv[1], tall, wide, each, at_once, float(sys.argv[6])))

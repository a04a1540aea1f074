"""What a graph for pictures of any size takes of memory, measured in a process of its own: `python -m` this, a file."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDES = (1064, 880)
"""Of the picture, in pixels: a tile as services cut them, 0.9 megapixels."""
WARMUP_SIDE = 64
"""Side of the picture before it: what a run takes anyway is not counted."""


def bytes_per_pixel(graph: bytes) -> float:
    """How much the process's memory grows by, at its highest, for each pixel; in two digits."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        file.write_bytes(graph)
        command = [sys.executable, "-m", __spec__.name, str(file)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file itself
    return float(f"{float(run.stdout):.2g}")


def _measure_bytes_per_pixel(file: Path) -> float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern = 1, False
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    tile = np.random.default_rng(0).integers(0, 256, (1, *SIDES, port.shape[3]), np.uint8)
    session.run(None, {port.name: tile[:, :WARMUP_SIDE, :WARMUP_SIDE]})
    before = _peak_rss()
    for _ in range(2):
        session.run(None, {port.name: tile})
    return max(1.0, (_peak_rss() - before) / (SIDES[0] * SIDES[1]))


def _peak_rss() -> int:
    """Bytes that this process has held at its highest. (What `resource` tells on Linux begins with the parent's.)"""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(_measure_bytes_per_pixel(Path(sys.argv[1])))

"""Measures the memory that a graph for images of any size needs per pixel, in a process of its own.

The process runs this module: `python -m training.export.memory GRAPH`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from service.card import STRENGTH_CONTROL
from service.runtime.session import Session

SIDES = (1064, 880)
"""Sides of the measured image in pixels: a tile of 0.9 megapixels, as the service cuts them."""
WARMUP_SIDE = 64
"""Side of a smaller image that is run before, so that the fixed memory of a run is not counted."""


def bytes_per_pixel(graph: bytes, sides: tuple[int, int] = SIDES) -> float:
    """Return the growth of peak memory per pixel in bytes, at least 1, to two significant digits.

    `graph` is a serialized ONNX model for images uint8 (1, H, W, C), and `sides` are those of the measured image.
    Raises subprocess.CalledProcessError if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        file.write_bytes(graph)
        command = [sys.executable, "-m", __spec__.name, str(file), *map(str, sides)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - runs this module
    return float(f"{float(run.stdout):.2g}")


def _measure_bytes_per_pixel(file: Path, sides: tuple[int, int]) -> float:
    session = Session(file.read_bytes(), free_sizes=True, controls={STRENGTH_CONTROL: 1.0})
    channels = session.input.shape[-1] or 1
    tile = np.random.default_rng(0).integers(0, 256, (1, *sides, channels), np.uint8)
    small = tile[:, :WARMUP_SIDE, :WARMUP_SIDE]
    session.run(small)
    session.release_memory(small)  # as the service does once it has loaded a graph
    before = _peak_rss()
    for _ in range(2):
        session.run(tile)
    return max(1.0, (_peak_rss() - before) / (sides[0] * sides[1]))


def _peak_rss() -> int:
    """Return the peak resident memory of this process in bytes.

    On Linux, `resource.getrusage` includes the peak of the parent before the fork, /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(_measure_bytes_per_pixel(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))))

"""Load on a gRPC method by h2load: one thread, several connections, one call at a time on each."""

import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.load import Measured, WrkMissing

PATH = "/inference.GRPCInferenceService/ModelInfer"
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def h2load() -> str:
    """Return the path of h2load. Raises WrkMissing."""
    path = shutil.which("h2load")
    if not path:
        raise WrkMissing("the benchmark of gRPC needs h2load: apt install nghttp2-client, or brew install nghttp2")
    return path


def grpc_load(port: int, message: bytes, *, connections: int, seconds: float, cores: str, folder: Path) -> Measured:
    """Measure a closed loop of calls with one message. A call that fails is seen only if the connection fails."""
    body = folder / "message"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    command = ["taskset", "-c", cores, h2load(), "-t1", f"-c{connections}", "-m1", f"-D{max(1, round(seconds))}"]
    command += ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True
    ).stdout
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", said)
    counts = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", said)
    times = re.search(r"time for request: +\S+ +([\d.]+)(us|ms|s) +([\d.]+)(us|ms|s)", said)
    if not (rate and counts and times):
        raise ValueError(f"h2load printed something unknown: {said[-500:]}")
    longest, mean = float(times[1]) * UNITS[times[2]], float(times[3]) * UNITS[times[4]]
    return Measured(float(rate[1]), mean, longest, sum(int(count) for count in counts.groups()))

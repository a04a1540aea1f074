"""Load by wrk, with one thread on one core: requests per second, latencies and failures."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
wrk.method = "POST"
local file = io.open(%s, "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = %s
%s
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%%d,"microseconds":%%d,"p50":%%d,"p99":%%d,"failed":%%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the load generator repeats."""

    path: str
    body: bytes
    content_type: str
    accept: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one run: requests per second, median and 99th percentile in ms, failures.

    `cpu`: microseconds of CPU that the server spent on a request, 0 if unknown.
    """

    rate: float
    p50: float
    p99: float
    failed: int
    cpu: float = 0.0


class WrkMissing(Exception):
    """wrk is not installed; the message says how to install it."""


def load(port: int, request: Request, *, connections: int, seconds: float, cores: str, folder: Path) -> Measured:
    """Measure a closed loop over kept-alive local connections."""
    (folder / "body").write_bytes(request.body)
    headers = [*request.headers, *([("Accept", request.accept)] if request.accept else [])]
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers)
    script = SCRIPT % (json.dumps(str(folder / "body")), json.dumps(request.content_type), lines)
    (folder / "load.lua").write_text(script)
    command = ["taskset", "-c", cores, wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "20s", "-s", str(folder / "load.lua"), f"http://127.0.0.1:{port}{request.path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    report = json.loads(said.strip().splitlines()[-1])
    rate = report["requests"] / (report["microseconds"] / 1e6)
    return Measured(rate, report["p50"] / 1000, report["p99"] / 1000, report["failed"])


def wrk() -> str:
    """Return the path of wrk. Raises WrkMissing."""
    path = shutil.which("wrk")
    if not path:
        raise WrkMissing("the benchmark loads the service with wrk: apt install wrk, or brew install wrk")
    return path

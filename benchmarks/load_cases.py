"""The cases under load: each measures Hourglass and its floor in the same round, and states its goal.

The servers run on one core, the load generator on the other. Ratios are computed per round, because the speed of the
machine changes between rounds.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import fixtures, payloads
from benchmarks.grpc_load import grpc_load
from benchmarks.load import Measured, Request, load
from benchmarks.process import Server, free_port

SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one case: its ratio, and the figures behind it in words."""

    ratio: float
    shown: str
    failed: int = 0


@dataclass(slots=True)
class Bench:
    """The servers under load, the graphs measured alone, and the seconds per load."""

    folder: Path
    seconds: float
    servers: dict[str, Server] = field(default_factory=dict[str, Server])
    grpc_ports: dict[str, int] = field(default_factory=dict[str, int])

    def load(self, server: str, request: Request, connections: int, times: int = 1) -> Measured:
        """Measure one load of a server; `times` lengthens it for slow requests."""
        process, seconds = self.servers[server], self.seconds * times
        started, spent = time.perf_counter(), process.cpu()
        result = load(
            process.port, request, connections=connections, seconds=seconds, cores=LOAD_CORE, folder=self.folder
        )
        requests = result.rate * (time.perf_counter() - started)
        return replace(result, cpu=1e6 * (process.cpu() - spent) / max(requests, 1))

    def raw(self, model: str, operation: str, items: np.ndarray) -> float:
        """Return items per second of onnxruntime alone on the core of the server."""
        np.save(self.folder / "items.npy", items)
        graph = self.folder / "models" / model / "1" / f"{operation}.onnx"
        command = ["taskset", "-c", SERVER_CORE, sys.executable, "-m", "benchmarks.floors.raw"]
        command += [str(graph), str(self.folder / "items.npy"), str(self.seconds)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@dataclass(frozen=True, slots=True)
class Case:
    """A claim: its goal, reference measurements of others, and the measurement of one round."""

    name: str
    title: str
    goal: float
    better: Literal["higher", "lower"]
    others: str
    measure: Callable[[Bench], Sample]
    once: bool = False  # takes long, and does not depend on the machine's speed

    def met(self, ratio: float) -> bool:
        """Return whether a ratio reaches the goal."""
        return ratio >= self.goal if self.better == "higher" else ratio <= self.goal


def throughput(request: Request, connections: int, echoed: Request | None = None) -> Callable[[Bench], Sample]:
    """Requests per second relative to FastAPI's echo of the same picture, with the same number of connections.

    The CPU time of the servers is shown besides: other processes on the machine hardly change it.
    `echoed`: what the echo gets instead of the picture.
    """

    def measure(bench: Bench) -> Sample:
        sent = echoed or PNG
        bare, floor = bench.load("asgi", sent, connections), bench.load("fastapi", sent, connections)
        ours = bench.load("ours", request, connections)
        shown = f"{ours.rate:,.0f} / {floor.rate:,.0f} req/s (bare ASGI echo {bare.rate:,.0f})"
        shown += f", CPU {ours.cpu:.0f} / {floor.cpu:.0f} us"
        return Sample(ours.rate / floor.rate, shown, ours.failed)

    return measure


def tail(bench: Bench) -> Sample:
    """99th percentile relative to the median latency at 128 connections."""
    floor, ours = bench.load("fastapi", PNG, 128), bench.load("ours", PNG, 128)
    shown = f"{ours.p99:.1f} / {ours.p50:.1f} ms (echo {floor.p99:.1f} / {floor.p50:.1f})"
    return Sample(ours.p99 / ours.p50, shown, ours.failed)


def alone(bench: Bench) -> Sample:
    """Median latency of a single client relative to FastAPI's echo."""
    floor, ours = bench.load("fastapi", PNG, 1), bench.load("ours", PNG, 1)
    return Sample(ours.p50 / floor.p50, f"{ours.p50:.3f} / {floor.p50:.3f} ms", ours.failed)


def v2_bulk(bench: Bench) -> Sample:
    """Pictures per second for binary tensors of 256, relative to onnxruntime alone at that batch size."""
    items = payloads.digits(256)
    body, headers = payloads.open_inference(items)
    request = Request(V2_PATH, body, "application/octet-stream", headers=headers)
    floor, ours = bench.raw("dense", "denoise", items), bench.load("ours", request, 1)
    return Sample(256 * ours.rate / floor, f"{256 * ours.rate:,.0f} / {floor:,.0f} pictures/s", ours.failed)


def grpc_throughput(bench: Bench) -> Sample:
    """Calls per second at 32 connections, relative to a bare echo of grpcio's asyncio server."""
    message = payloads.grpc_message("dense.denoise", payloads.digits(1))
    floor, ours = (
        grpc_load(
            bench.grpc_ports[name],
            message,
            connections=32,
            seconds=bench.seconds,
            cores=LOAD_CORE,
            folder=bench.folder,
        )
        for name in ("echo", "ours")
    )
    return Sample(ours.rate / floor.rate, f"{ours.rate:,.0f} / {floor.rate:,.0f} calls/s", ours.failed)


def bulk(bench: Bench) -> Sample:
    """Pictures per second for arrays of 256, relative to onnxruntime alone at that batch size."""
    items = payloads.digits(256)
    request = Request("/denoise?model=dense", payloads.npy(items), "application/x-npy")
    floor, ours = bench.raw("dense", "denoise", items), bench.load("ours", request, 1)
    return Sample(256 * ours.rate / floor, f"{256 * ours.rate:,.0f} / {floor:,.0f} pictures/s", ours.failed)


def megapixel(bench: Bench) -> Sample:
    """Megapixels per second from JPEG to JPEG, relative to onnxruntime alone on its pixels."""
    pixels = payloads.photo()
    request = Request("/denoise?model=photo", payloads.picture(pixels, "JPEG"), "image/jpeg")
    size = pixels.shape[0] * pixels.shape[1] / 1e6
    floor, ours = size * bench.raw("photo", "denoise", pixels[np.newaxis]), bench.load("ours", request, 1, times=3)
    rate = size / ours.p50 * 1000  # with few long requests, a count over time would lose the last one
    return Sample(rate / floor, f"{rate:.2f} / {floor:.2f} MP/s", ours.failed)


def fairness(bench: Bench) -> Sample:
    """99th percentile of a lone caller of single pictures while another sends 1024 at a time, over that bulk's median.

    A first-come queue would make every single wait for a whole bulk: ratio 1 or more.
    """
    many = Request("/denoise?model=dense", payloads.npy(payloads.digits(1024)), "application/x-npy")
    measurements: list[Measured] = []
    beside = bench.folder / "beside"
    beside.mkdir(exist_ok=True)
    port = bench.servers["ours"].port

    def send() -> None:
        measurements.append(load(port, many, connections=1, seconds=bench.seconds + 1, cores=LOAD_CORE, folder=beside))

    crowd = threading.Thread(target=send)
    crowd.start()
    single = bench.load("ours", PNG, 1)
    crowd.join()
    shown = f"single {single.p50:.2f}, p99 {single.p99:.2f} ms beside a bulk of {measurements[0].p50:.1f} ms"
    return Sample(single.p99 / measurements[0].p50, shown, single.failed + measurements[0].failed)


PICTURE = payloads.picture(payloads.digits(1)[0], "PNG")
PNG = Request("/denoise?model=dense", PICTURE, "image/png")
FORM = Request("/denoise?model=dense", *payloads.multipart(PICTURE))
TEXT = Request("/denoise?model=dense", payloads.images(PICTURE), "application/json")
CODE = Request("/encode?model=dense", PICTURE, "image/png")

V2_PATH = "/v2/models/dense.denoise/infer"
V2_BODY, V2_HEADERS = payloads.open_inference(payloads.digits(1))
V2 = Request(V2_PATH, V2_BODY, "application/octet-stream", headers=V2_HEADERS)
V2_ECHO = Request("/denoise", V2_BODY, "application/octet-stream", headers=V2_HEADERS)

CASES = (
    Case("png", "28x28 PNG to denoised PNG, 32 connections / echo", 0.9, "higher", "naive 0.18", throughput(PNG, 32)),
    Case("multipart", "the same as a form, JSON answer / echo", 0.5, "higher", "naive 0.18", throughput(FORM, 32)),
    Case("json", "the same as base64 in JSON / echo", 0.5, "higher", "naive 0.18", throughput(TEXT, 32)),
    Case("encode", "PNG to its code as JSON / echo", 0.8, "higher", "naive 0.22", throughput(CODE, 32)),
    Case(
        "v2",
        "28x28 binary tensor, /v2 infer / echo",
        0.8,
        "higher",
        "Triton 0.32",
        throughput(V2, 32, V2_ECHO),
    ),
    Case("grpc", "the same over gRPC / bare grpcio-aio echo", 0.6, "higher", "", grpc_throughput),
    Case("v2-bulk", "256 pictures in one binary tensor / raw onnxruntime", 0.85, "higher", "Triton 0.26", v2_bulk),
    Case("tail", "p99 / p50 at 128 connections", 3.0, "lower", "naive 22, Triton 1.9", tail),
    Case("alone", "p50 at one connection / echo", 2.5, "lower", "naive 4.2", alone),
    Case("bulk", "256 pictures in one npy / raw onnxruntime", 0.85, "higher", "Triton 0.26, MLServer 0.10", bulk),
    Case("photo", "1 MP JPEG, any-size net / raw onnxruntime", 0.95, "higher", "naive 0.83", megapixel),
    Case("fair", "p99 of singles beside a bulk of 1024 / the bulk's p50", 0.5, "lower", "first come: 1", fairness),
)


def command(app: str, port: int) -> list[str]:
    """Return the command of a floor under uvicorn, with the options of the service."""
    options = [
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--no-access-log",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]
    return [sys.executable, "-m", "uvicorn", app, *options]


def start_hourglass(
    folder: Path, models: Path, *, cores: str = SERVER_CORE, workers: int = 1, grpc_port: int = 0
) -> Server:
    """Start `hourglass serve` with default settings except its addresses."""
    port = free_port()
    environ = {"HOURGLASS_MODELS_DIR": str(models), "HOURGLASS_PORT": str(port), "HOURGLASS_WORKERS": str(workers)}
    environ["HOURGLASS_GRPC_PORT"] = str(grpc_port)
    serve = [sys.executable, "-m", "service", "serve"]
    log = folder / f"ours-{workers}-{cores}.log"
    return Server("hourglass", serve, port=port, cores=cores, log=log, ready="/readyz", environ=environ)


@contextmanager
def running(command: Sequence[str]) -> Generator[None]:
    """Run a process until the end of the block."""
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_servers(folder: Path, seconds: float) -> Generator[Bench]:
    """Publish the benchmark models, and run the floors and Hourglass on one core."""
    bench = Bench(folder, seconds)
    fixtures.publish_all(folder / "models")
    with ExitStack() as stack:
        for name, app in (("asgi", "benchmarks.floors.asgi:app"), ("fastapi", "benchmarks.floors.fastapi_echo:app")):
            port = free_port()
            log = folder / f"{name}.log"
            floor = Server(name, command(app, port), port=port, cores=SERVER_CORE, log=log, ready="/livez", environ={})
            bench.servers[name] = stack.enter_context(floor)
        bench.grpc_ports = {"echo": free_port(), "ours": free_port()}
        echo = [sys.executable, "-m", "benchmarks.floors.grpc_echo", str(bench.grpc_ports["echo"])]
        stack.enter_context(running(["taskset", "-c", SERVER_CORE, *echo]))
        ours = start_hourglass(folder, folder / "models", grpc_port=bench.grpc_ports["ours"])
        bench.servers["ours"] = stack.enter_context(ours)
        for server in bench.servers.values():
            server.wait()
        yield bench

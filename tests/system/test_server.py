"""`hourglass serve` as a process: signals, TLS, workers, ports."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc
import httpx2
import pytest

from service.grpc import open_inference_pb2 as pb
from tests.conftest import digit, png
from tests.support.compatibility import accepts
from tests.support.processes import free_port, serving

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Certificate:
    """The PEM files of a certificate and of its key."""

    cert: Path
    key: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the service that serves with it."""
        return ("--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key))


def infer(channel: Any, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """Call ModelInfer on a channel."""
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return call(request, timeout=20)


def test_metrics_of_two_workers_are_summed(models: Path) -> None:
    flags = ("--workers", "2", "--default-denoise", "digits", "--max-inflight-items", "100")
    with serving(models, *flags) as (address, process):
        for _ in range(30):  # a connection each, so that both workers get requests
            assert httpx2.post(f"{address}/denoise", content=png(digit())).status_code == 200
        seen: set[float] = set()
        end = monotonic() + 30
        while seen != {30.0} and monotonic() < end:  # each worker knows the metrics of the other a second later
            texts = [httpx2.get(f"{address}/metrics").text for _ in range(8)]
            matches = [re.search(r'hourglass_requests_total\{.*route="/denoise".*\} (\S+)', text) for text in texts]
            seen = {float(match[1]) for match in matches if match}
        assert seen == {30.0}
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0
    assert '"max_inflight_items_per_worker":50' in log


@accepts(
    18,
    "both families with one worker and with two",
    oracle="connections of both families",
    cases="{host}, {workers} workers",
)
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["::", "localhost"])
def test_both_families_are_served_on_one_port(models: Path, host: str, workers: str) -> None:
    flags = ("--host", host, "--workers", workers, "--default-denoise", "digits", "--log-format", "json")
    with serving(models, *flags) as (address, process):
        port = address.rpartition(":")[2]
        for name in ("127.0.0.1", "[::1]", "localhost"):
            for _ in range(4):
                answer = httpx2.post(f"http://{name}:{port}/denoise", content=png(digit()), timeout=20)
                assert answer.status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0
    assert f"http://[{'::' if host == '::' else '::1'}]:{port}" in log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_is_named(models: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "service", "serve", "--models-dir", str(models), "--workers", workers]
        ended = subprocess.run([*command, "--port", port], check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert f"127.0.0.1 port {port} cannot be listened on: Address already in use" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Return a new certificate for 127.0.0.1, signed by itself."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    pair = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    files = ("-keyout", str(pair.key), "-out", str(pair.cert))
    names = ("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *names]
    subprocess.run(command, check=True, capture_output=True)
    return pair


@pytest.mark.parametrize("workers", ["1", "2"])
def test_https_is_served_with_a_certificate(models: Path, certificate: Certificate, workers: str) -> None:
    with serving(models, *certificate.flags, "--workers", workers, "--default-denoise", "digits") as (address, process):
        trusted = ssl.create_default_context(cafile=str(certificate.cert))
        answer = httpx2.post(f"{address}/denoise", content=png(digit()), verify=trusted)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        with pytest.raises(httpx2.TransportError):
            httpx2.get(address.replace("https", "http"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_grpc_is_served_with_a_certificate(models: Path, certificate: Certificate, workers: str) -> None:
    port = free_port()
    request = pb.ModelInferRequest(model_name="digits.denoise", raw_input_contents=[digit().tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=[1, *digit().shape])
    flags = (*certificate.flags, "--workers", workers, "--grpc-port", str(port))
    with serving(models, *flags) as (_, process):
        trusted = grpc.ssl_channel_credentials(certificate.cert.read_bytes())
        for channel in [grpc.secure_channel(f"127.0.0.1:{port}", trusted) for _ in range(4)]:  # workers share the port
            with channel:
                answer = infer(channel, request)
            assert answer.raw_output_contents[0] == (255 - digit()).tobytes()
        unknown = grpc.ssl_channel_credentials()
        for channel in (grpc.secure_channel(f"127.0.0.1:{port}", unknown), grpc.insecure_channel(f"127.0.0.1:{port}")):
            with channel, pytest.raises(grpc.RpcError) as error:
                infer(channel, request)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_sigint_exits_with_0_and_logs_are_json(models: Path) -> None:
    with serving(models, "--log-format", "json", "--access-log") as (address, process):
        httpx2.get(f"{address}/livez", headers={"x-request-id": "abc"})
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(line.startswith("{") for line in log.splitlines())
    assert '"id":"abc"' in log


@accepts(17, "a process that drains", oracle="`/readyz` and the responses", cases="{workers} workers")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_readyz_fails_after_sigterm_while_requests_are_served(models: Path, workers: str) -> None:
    with serving(models, "--shutdown-delay", "3", "--workers", workers, "--default-denoise", "digits") as (
        address,
        process,
    ):
        process.send_signal(signal.SIGTERM)
        end, seen = monotonic() + 2.5, 0
        while seen != 503 and monotonic() < end:
            seen = httpx2.get(f"{address}/readyz").status_code
            sleep(0.05)
        assert seen == 503
        assert httpx2.get(f"{address}/livez").status_code == 200
        assert httpx2.post(f"{address}/denoise", content=png(digit())).status_code == 200
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_is_reported_and_ends_the_process(models: Path, workers: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "service", "serve", "--models-dir", str(models)]
        port = str(taken.getsockname()[1])
        command += ["--port", port, "--workers", workers]
        run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "address already in use" in run.stderr.lower()
    assert port in run.stderr
    assert "Traceback" not in run.stderr


def test_required_gpu_never_falls_back_to_cpu(models: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    command = [sys.executable, "-m", "service", "serve", "--models-dir", str(models), "--device", "cuda"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "install the gpu extra" in run.stderr
    assert "Traceback" not in run.stderr


def sockets(process: "subprocess.Popen[str]", port: int) -> list[str]:
    """Return the lines of /proc for sockets of the process that do not belong to its port."""
    mine: set[str] = set()
    for name in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed since
            mine.add(str(name.readlink()))
    tables = [Path(f"/proc/{process.pid}/net/{table}") for table in ("tcp", "tcp6", "udp", "udp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    own_lines = [line for line in lines if f"socket:[{line.split()[9]}]" in mine]
    return [line for line in own_lines if int(line.split()[1].rpartition(":")[2], 16) != port]


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="sockets of a process are told by Linux alone")
def test_no_outbound_connection_and_no_file(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime sends no telemetry in CI, so the variables of CI are removed; its traces are files."""
    for name in os.environ.keys() - {"PATH"}:
        monkeypatch.delenv(name)
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    with serving(models, "--default-denoise", "digits", **home) as (address, process):
        end = monotonic() + 4
        while monotonic() < end:
            assert httpx2.post(f"{address}/denoise", content=png(digit())).status_code == 200
            assert sockets(process, int(address.rpartition(":")[2])) == []
    assert list(tmp_path.rglob("*")) == []

"""Faults of a serving process: pauses, no free descriptors, an unread log, repeated signals."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from time import sleep

import httpx2
import pytest

from tests.conftest import digit, png
from tests.support.processes import children, free_port, serving, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals, pipes and limits as Linux has them"),
]

BODY = png(digit())
Served = tuple[str, "subprocess.Popen[bytes]"]


def listened(process: "subprocess.Popen[bytes]") -> str:
    """Return the address in the log of a process."""
    assert process.stderr
    for line in process.stderr:
        assert b"127.0.0.1:0" not in line, "the log must state the real port"
        said = json.loads(line)["event"]
        if said.startswith("Uvicorn running on "):
            return said.split()[3]
    raise AssertionError("the service did not start")


@pytest.fixture
def served(models: Path) -> Generator[Served]:
    """Start a process for each test, on a free port and with a short watchdog; read its log up to the address."""
    command = [sys.executable, "-m", "service", "serve", "--models-dir", str(models), "--default-denoise", "digits"]
    flags = ["--port", "0", "--watchdog-timeout", "3", "--model-watch", "off", "--access-log", "--shutdown-delay", "0"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE) as process:
        yield listened(process), process
        process.kill()


def denoise(address: str) -> int:
    return httpx2.post(f"{address}/denoise", content=BODY, timeout=20).status_code


def test_logged_address_is_served(served: Served) -> None:
    assert denoise(served[0]) == 200


def test_sigstop_longer_than_watchdog_timeout_loses_no_request(
    served: Served,
) -> None:
    address, process = served
    answers: list[int] = []
    process.send_signal(signal.SIGSTOP)
    callers = [threading.Thread(target=lambda: answers.append(denoise(address))) for _ in range(8)]
    for caller in callers:
        caller.start()
    sleep(4.5)
    process.send_signal(signal.SIGCONT)
    for caller in callers:
        caller.join()
    assert answers == [200] * 8
    sleep(1.5)  # several ticks of the watchdog
    assert process.poll() is None


def test_serves_again_after_running_out_of_descriptors(served: Served) -> None:
    address, process = served
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (64, limits[1]))
    host, port = address.removeprefix("http://").split(":")
    before = processor_seconds(process.pid)
    opened = [socket.create_connection((host, int(port)), timeout=20) for _ in range(100)]
    sleep(1)
    assert processor_seconds(process.pid) - before < 0.7, "the service is in a busy loop"
    for connection in opened:
        connection.close()
    assert denoise(address) == 200
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)


def processor_seconds(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_unread_or_closed_log_pipe_loses_no_request(
    served: Served,
) -> None:
    address, process = served
    with httpx2.Client(base_url=address, timeout=20) as client:
        for _ in range(1000):  # 150 bytes of log each; a pipe holds 64 KiB
            assert client.get("/models", headers={"x-request-id": "a" * 64}).status_code == 200
        assert process.stderr
        process.stderr.close()
        assert client.post("/denoise", content=BODY).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(("workers", "kind"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_second_signal_ends_the_process_at_once(models: Path, workers: str, kind: signal.Signals) -> None:
    with serving(models, "--workers", workers, "--shutdown-delay", "60") as (address, process):
        process.send_signal(kind)
        until(lambda: httpx2.get(f"{address}/readyz").status_code == 503)
        process.send_signal(kind)
        assert process.wait(timeout=30) in (-kind, 128 + kind)


def test_sigterm_to_the_whole_group_counts_once(models: Path) -> None:
    """Service managers signal all processes; workers then get the signal from their supervisor too."""
    flags = ("--workers", "2", "--shutdown-delay", "2", "--default-denoise", "digits")
    with serving(models, *flags) as (address, process):
        for pid in [*children(process.pid), process.pid]:
            os.kill(pid, signal.SIGTERM)
            sleep(0.2)
        assert [denoise(address) for _ in range(8)] == [200] * 8
        assert process.wait(timeout=30) == 0


def test_incomplete_requests_do_not_delay_shutdown(models: Path) -> None:
    head = b"POST /denoise HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99\r\n"
    flags = ("--drain-timeout", "1", "--shutdown-delay", "0", "--default-denoise", "digits")
    with serving(models, *flags) as (address, process):
        host, port = address.removeprefix("http://").split(":")
        opened = [socket.create_connection((host, int(port))) for _ in range(3)]
        for connection, sent in zip(opened, (b"", head, head + b"\r\nbody"), strict=True):
            connection.sendall(sent)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        for connection in opened:
            connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serves_with_closed_streams_and_no_writable_file(models: Path, workers: str) -> None:
    script = 'ulimit -f 0; exec "$0" -m service serve --models-dir "$1" --port "$2" --workers "$3" <&- >&- 2>&-'
    port = str(free_port())
    with subprocess.Popen(["bash", "-c", script, sys.executable, str(models), port, workers]) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/readyz") == 200)
            assert answers(f"http://127.0.0.1:{port}/metrics") == 200
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def answers(address: str) -> int:
    """Return the status of a GET, or 0 if the connection is refused."""
    try:
        return httpx2.get(address).status_code
    except httpx2.TransportError:
        return 0

"""Several workers behind one port: balanced connections, replaced workers, graceful shutdown."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import sleep

import pytest

from tests.conftest import digit, png
from tests.support.processes import children, free_port, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

BODY = png(digit())


def sockets(pid: int) -> int:
    """Return the number of sockets of a process."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed since
            count += str(link.readlink()).startswith("socket:")
    return count


def ask(connection: HTTPConnection) -> int:
    """Send a request and return the status of the response, or 0 if the connection was closed."""
    try:
        connection.request("POST", "/denoise?model=digits", BODY, {"content-type": "image/png"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return 0
    return answer.status


def connect(address: str) -> HTTPConnection:
    """Return a connection that does not reopen after it is closed."""
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.connect()
    connection.auto_open = 0
    return connection


@contextmanager
def connections(address: str, count: int) -> Generator[list[HTTPConnection]]:
    """Yield a number of kept-alive connections, after one request on each."""
    opened = [connect(address) for _ in range(count)]
    try:
        assert [ask(connection) for connection in opened] == [200] * count
        yield opened
    finally:
        for connection in opened:
            connection.close()


def settled(workers: list[int]) -> list[int]:
    """Return the number of sockets of each process when it no longer changes."""
    seen = [[-1]]

    def still() -> bool:
        seen.append([sockets(pid) for pid in workers])
        return seen[-10:] == [seen[-1]] * 10

    until(still)
    return seen[-1]


def both_ready(address: str, supervisor: int) -> list[int]:
    """Return the two workers when each accepts one of two connections."""
    workers = children(supervisor)

    def shared() -> bool:
        idle = settled(workers)
        with connections(address, 2):
            return [sockets(pid) - before for pid, before in zip(workers, idle, strict=True)] == [1, 1]

    until(shared)
    settled(workers)
    return workers


def test_connections_are_balanced_between_workers(models: Path) -> None:
    with serving(models, "--workers", "2") as (address, process):
        workers = both_ready(address, process.pid)
        idle = sockets(workers[0])
        with connections(address, 8) as first:
            assert [sockets(pid) - idle for pid in workers] == [4, 4]
            for connection in first[:6]:
                connection.close()
            until(lambda: sum(sockets(pid) - idle for pid in workers) == 2)
            with connections(address, 6):
                assert [sockets(pid) - idle for pid in workers] == [4, 4]
        until(lambda: [sockets(pid) - idle for pid in workers] == [0, 0])


def test_closed_connections_leave_no_descriptor_open(models: Path) -> None:
    with serving(models, "--workers", "2") as (address, process):
        watched = [process.pid, *both_ready(address, process.pid)]
        before = settled(watched)
        for _ in range(10):
            with connections(address, 50):
                pass
        until(lambda: [sockets(pid) for pid in watched] == before)


def test_killed_worker_loses_only_its_own_requests(models: Path) -> None:
    with ExitStack() as stack:
        address, process = stack.enter_context(serving(models, "--workers", "2"))
        doomed, other = both_ready(address, process.pid)
        kept = stack.enter_context(connections(address, 8))
        os.kill(doomed, signal.SIGKILL)
        until(lambda: len(set(children(process.pid)) - {doomed, other}) == 1)
        assert sorted(ask(connection) for connection in kept) == [0] * 4 + [200] * 4
        with connections(address, 8):
            pass
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    ended = [json.loads(line) for line in log.splitlines() if "worker_restarting" in line]
    assert [(line["pid"], line["status"]) for line in ended] == [(doomed, -signal.SIGKILL)]


@pytest.mark.parametrize("milliseconds", [0, 20, 50, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_requests_sent_before_sigterm_are_answered(models: Path, workers: int, milliseconds: int) -> None:
    with serving(models, "--workers", str(workers)) as (address, process):
        answers: list[int] = []
        barrier = threading.Barrier(65)

        def send() -> None:
            connection = connect(address)
            connection.request("POST", "/denoise?model=digits", BODY, {"content-type": "image/png"})
            barrier.wait()
            answers.append(connection.getresponse().status)
            connection.close()

        threads = [threading.Thread(target=send) for _ in range(64)]
        for thread in threads:
            thread.start()
        barrier.wait()
        sleep(milliseconds / 1e3)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        process.communicate(timeout=60)
    assert answers == [200] * 64
    assert process.returncode == 0


def test_worker_startup_error_ends_the_service(models: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    command = [
        sys.executable,
        "-m",
        "service",
        "serve",
        "--models-dir",
        str(models),
        "--workers",
        "2",
        "--device",
        "cuda",
    ]
    run = subprocess.run(
        [*command, "--port", str(free_port())], check=False, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 3
    assert "install the gpu extra" in run.stderr
    assert "Traceback" not in run.stderr


def test_worker_is_replaced_after_a_failed_attempt(models: Path) -> None:
    import resource

    with serving(models, "--workers", "2") as (address, process):
        doomed = both_ready(address, process.pid)
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (12, limits[1]))
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        sleep(1.5)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        until(lambda: len(set(children(process.pid)) - set(doomed)) == 2)
        with connections(address, 4):
            pass

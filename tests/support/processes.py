"""`hourglass serve` as a process of its own, and helpers that wait for it and list its workers."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import httpx2

READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(models: Path, *flags: str, **environ: str) -> Generator[tuple[str, "subprocess.Popen[str]"]]:
    """Run `hourglass serve`, and yield its address and its process once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--models-dir", str(models), "--port", str(port), *flags]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HOURGLASS_")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**plain, **environ})
    address = f"{'https' if '--tls-cert-file' in flags else 'http'}://127.0.0.1:{port}"
    try:
        end = monotonic() + READY_SECONDS
        while True:
            assert process.poll() is None, process.communicate()[1]
            assert monotonic() < end, f"the service was not ready within {READY_SECONDS} s"
            try:
                if httpx2.get(f"{address}/readyz", verify=False).status_code == 200:
                    break
            except httpx2.TransportError:
                sleep(0.05)
        yield address, process
    finally:
        process.send_signal(signal.SIGKILL if process.poll() is None else 0)
        process.communicate()


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition is true; fail after some seconds."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end, f"the condition was not met within {seconds:.0f} s"
        sleep(0.02)


def children(pid: int) -> list[int]:
    """Return the process ids of the workers of a supervisor, without its resource tracker."""
    pids: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError):  # it has ended since
            pids += [int(child)] if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text() else []
    return pids

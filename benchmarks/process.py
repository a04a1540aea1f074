"""Servers as processes: start on given cores, wait until ready, measure memory and CPU, stop."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.load import Request


class ServerFailed(Exception):
    """A server did not start, or gave a wrong response; the message contains its output."""


class Server:
    """A process and its children; use it as a context manager."""

    def __init__(
        self,
        title: str,
        command: Sequence[str],
        *,
        port: int,
        cores: str,
        log: Path,
        ready: str,
        environ: dict[str, str],
    ) -> None:
        self.title, self.port, self.log = title, port, log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HOURGLASS_")}
        with log.open("wb") as out:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                ["taskset", "-c", cores, *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**clean, "ORT_DISABLE_TELEMETRY": "1", **environ},
            )
        self._ready = ready

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, seconds: float = 30.0) -> "Server":
        """Wait until the readiness path returns 200. Raises ServerFailed."""
        deadline = self.started + seconds
        while time.perf_counter() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._ready}", timeout=2):
                    return self
            except (OSError, urllib.error.URLError):
                time.sleep(0.005)
        said = self.log.read_text(errors="replace")[-2000:]
        self.stop()
        raise ServerFailed(f"{self.title} was not ready within {seconds:g} s; it said:\n{said}")

    def first_answer(self, request: Request, seconds: float = 30.0) -> float:
        """Return the seconds from the start of the process to its first 200 for a request."""
        while time.perf_counter() < self.started + seconds:
            try:
                self.post(request)
            except (OSError, ServerFailed):
                time.sleep(0.002)
            else:
                return time.perf_counter() - self.started
        raise ServerFailed(f"{self.title} gave no answer within {seconds:g} s")

    def post(self, request: Request) -> bytes:
        """Send a request and return the body. Raises ServerFailed unless the status is 200."""
        headers = {"Content-Type": request.content_type, **dict(request.headers)}
        if request.accept:
            headers["Accept"] = request.accept
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{request.path}", request.body, headers, method="POST"
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise ServerFailed(f"{self.title}: {error.code} {error.read()[:500]!r}") from error

    def pss(self) -> float:
        """Return the PSS of the process and its children in MB (shared memory counts once)."""
        total = 0
        for process in _family(self.process.pid):
            try:
                text = Path(f"/proc/{process}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def cpu(self) -> float:
        """Return the CPU seconds of the process and its children."""
        return sum(_ticks(process) for process in _family(self.process.pid)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop the process and its children."""
        for kind, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, kind)
            except ProcessLookupError:
                break
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(1)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _family(pid: int) -> list[int]:
    try:
        tasks = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [pid, *(descendant for text in tasks for child in text.split() for descendant in _family(int(child)))]


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])

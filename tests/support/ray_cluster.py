"""A Ray cluster of one machine, from an environment of its own, which ends with its context."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.support.environments import PROJECT, environment
from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
CPUS = 2
OBJECT_STORE_BYTES = 300_000_000
START_SECONDS = 300


@dataclass(frozen=True)
class RayCluster:
    """The Python interpreter of the environment, and the variables of processes that use the cluster."""

    python: Path
    environ: dict[str, str]

    def run(self, *command: str, seconds: float = START_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment with the cluster."""
        program, *arguments = command
        return subprocess.run(
            [self.python.with_name(program), *arguments],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


def _metadata(folder: Path) -> Path:
    """Write the metadata of the project, which is on the path of the environment but not installed in it."""
    info = folder / f"hourglass-{PROJECT['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hourglass\nVersion: {PROJECT['version']}\n")
    return folder


@contextmanager
def ray_cluster(folder: Path, variables: Mapping[str, str] | None = None) -> Generator[RayCluster]:
    """Start a cluster with two CPUs and a small object store, and end it with all its processes.

    All its processes have the variables in their environment.
    """
    python = environment("ray")
    port = free_port()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HOURGLASS_", "RAY_"))}
    environ = {
        **plain,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{_metadata(folder / 'metadata')}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        **(variables or {}),
    }
    with tempfile.TemporaryDirectory(prefix="hg-ray-", dir="/tmp") as scratch:
        flags = [f"--port={port}", f"--num-cpus={CPUS}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        command = [python.with_name("ray"), "start", "--head", "--block", "--include-dashboard=false", *flags]
        process = subprocess.Popen(
            [*command, f"--temp-dir={scratch}", "--node-ip-address=127.0.0.1"],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        cluster = RayCluster(python, {**environ, "RAY_ADDRESS": f"127.0.0.1:{port}"})
        try:
            deadline = monotonic() + START_SECONDS
            while cluster.run("ray", "status").returncode:
                assert process.poll() is None
                assert monotonic() < deadline, "Ray did not start"
                sleep(0.5)
            yield cluster
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                for pid in _processes_of(scratch):
                    os.kill(pid, signal.SIGKILL)


def _processes_of(scratch: str) -> list[int]:
    """Return the processes whose command line or environment names the cluster's folder."""
    pids: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if scratch.encode() in text and int(folder.name) != os.getpid():
            pids.append(int(folder.name))
    return pids

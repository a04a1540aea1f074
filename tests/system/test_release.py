"""The release: versions, platforms, the workflow, default models, and the wheel in an empty environment."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import config
from service.config import Settings

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_version_changelog_and_image_label_agree() -> None:
    (label,) = re.findall(r'image\.version="([^"]+)"', (ROOT / "Dockerfile").read_text())
    assert label == PROJECT["version"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0].startswith(PROJECT["version"])


def test_only_windows_lacks_a_requirement() -> None:
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cpu"]]
    markers = {text.partition(";")[2].strip() for text in requirements if ";" in text}
    assert markers == {"platform_system != 'Windows'"}


def test_workflow_runs_the_commands_of_people() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    assert commands == {".ci/run", "deploy/build-and-smoke.sh", "make release"}


@pytest.mark.parametrize("local", [True, False])
def test_models_of_the_wheel_serve_only_without_a_folder(
    local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "wheel"
    bundled.mkdir()
    monkeypatch.setattr(config, "BUNDLED_MODELS", bundled)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    if local:
        Path("models").mkdir()
    assert Settings().models_folder == (Path("models") if local else bundled)
    assert Settings(models_dir="models").models_folder == Path("models")


@pytest.mark.slow
def test_wheel_serves_from_an_empty_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, str(ROOT / "deploy/check_wheel.py"), str(wheel)], check=True, timeout=60)
    install = [str(ROOT / "deploy/check_install.sh"), str(wheel), str(tmp_path / "environment")]
    printed = subprocess.run(install, check=True, timeout=900, capture_output=True, text=True).stdout
    assert "ok: denoise answers 200" in printed

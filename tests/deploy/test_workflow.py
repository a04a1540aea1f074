"""The workflow of GitHub, by actionlint."""

import subprocess
from pathlib import Path

import pytest

from tests.support.environments import environment

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/ci.yml"


def lint(file: Path) -> "subprocess.CompletedProcess[str]":
    program = environment("actionlint").with_name("actionlint")
    return subprocess.run([program, "-no-color", file], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_workflow_has_no_errors() -> None:
    completed = lint(WORKFLOW)
    assert completed.returncode == 0, completed.stdout


@pytest.mark.slow
def test_unknown_job_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "ci.yml").write_text(WORKFLOW.read_text().replace("needs: [test, image]", "needs: [test, pictures]"))
    completed = lint(folder / "ci.yml")
    assert completed.returncode == 1
    assert "pictures" in completed.stdout

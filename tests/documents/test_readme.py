"""README, CONTRIBUTING and CHANGELOG: commands, variables and links exist, and the examples work when pasted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.config import Settings
from service.environment import PREFIX, RENAMED
from tests.support.documents import run_curl_examples

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_and_variables_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"HOURGLASS_DATA"}
    current = re.sub(r"^\| [^|]+ \| `", "`", text, flags=re.MULTILINE) if document.name == "CHANGELOG.md" else text
    assert set(re.findall(r"HOURGLASS_[A-Z_]+", current)) <= known
    for path in re.findall(r"\]\(((?!http|#)[^)]+)\)", text):
        assert (ROOT / path).exists(), path


def test_changelog_has_every_renamed_setting() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMED.items():
        assert f"| `{PREFIX}{old}` | `{PREFIX}{new}` |" in text


@pytest.mark.parametrize("name", ["hourglass", "hourglass-train"])
def test_readme_command_lines_are_valid(name: str) -> None:
    """The help of each command lists every word after it."""
    for line in re.findall(rf"^(?:\.venv/bin/)?{name} (.+)$", README, re.MULTILINE):
        words = line.split()
        shown = subprocess.run(
            [ROOT / ".venv/bin" / name, words[0], "--help"], check=True, capture_output=True, text=True
        ).stdout
        for flag in re.findall(r"(--[a-z-]+)", line):
            assert flag in shown, line


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_readme_curl_examples_work_when_pasted(tmp_path: Path) -> None:
    assert run_curl_examples(README, tmp_path) >= 5

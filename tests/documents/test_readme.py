"""What the documents say is so: settings, problems, files, commands, and the examples when pasted."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.config import PREFIX, RENAMED, Settings
from service.errors import problem_types
from tests.support.documents import run_curl_examples
from training.report import STATUS_LABELS
from training.studies import STUDIES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def settings_table() -> str:
    """The table of settings as the README must have it."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = f"`{field.default}`" if str(field.default) else ""
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def problems_table() -> str:
    """The table of problems as the README must have it."""
    rows = ["| status | type | title |", "|---|---|---|"]
    rows += [f"| {kind.status} | `/problems/{kind.type}` | {kind.title} |" for kind in problem_types()]
    return "\n".join(rows)


def test_the_readme_has_every_setting() -> None:
    assert settings_table() in README, settings_table()


def test_the_readme_has_every_problem() -> None:
    assert problems_table() in README, problems_table()


def studies_table() -> str:
    """The table of what the studies reached, as the README must have it."""
    rows = ["| question | measured | ours | to reach | reached |", "|---|---|---|---|---|"]
    for study in STUDIES.values():
        results = json.loads((ROOT / "docs" / "lecture" / f"{study.name}.json").read_text())
        figure = next(iter(study.plot(results)))
        first = f"[{study.title}](docs/lecture/{study.name}-{figure}.png)"
        for row in study.rows(results):
            if row.target is not None:
                rows.append(
                    f"| {first} | {row.label} | {row.value:.4g} | {row.target_text} | {STATUS_LABELS[row.status]} |"
                )
                first = ""
    return "\n".join(rows)


def test_the_readme_has_what_the_studies_reached() -> None:
    assert studies_table() in README, studies_table()


@pytest.mark.parametrize("package", ["service", "training"])
def test_the_tree_of_the_readme_has_every_file(package: str) -> None:
    for path in sorted((ROOT / package).iterdir()):
        if path.name not in ("__init__.py", "__pycache__"):
            assert re.search(rf"^  {re.escape(path.name)}/? ", README, re.MULTILINE), (
                f"{package}/{path.name} has no line"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_variables_that_documents_name_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"HOURGLASS_DATA"}
    current = re.sub(r"^\| [^|]+ \| `", "`", text, flags=re.MULTILINE) if document.name == "CHANGELOG.md" else text
    assert set(re.findall(r"HOURGLASS_[A-Z_]+", current)) <= known
    for path in re.findall(r"\]\(((?!http|#)[^)]+)\)", text):
        assert (ROOT / path).exists(), path


def test_the_changelog_has_every_renamed_setting() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMED.items():
        assert f"| `{PREFIX}{old}` | `{PREFIX}{new}` |" in text


@pytest.mark.parametrize("name", ["hourglass", "hourglass-train"])
def test_command_lines_of_the_readme_are_understood(name: str) -> None:
    """Every word after the command is one that its help knows."""
    for line in re.findall(rf"^(?:\.venv/bin/)?{name} (.+)$", README, re.MULTILINE):
        words = line.split()
        shown = subprocess.run(
            [ROOT / ".venv/bin" / name, words[0], "--help"], check=True, capture_output=True, text=True
        ).stdout
        for flag in re.findall(r"(--[a-z-]+)", line):
            assert flag in shown, line


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_examples_work_when_pasted(tmp_path: Path) -> None:
    assert run_curl_examples(README, tmp_path) >= 6

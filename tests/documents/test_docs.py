"""The pages of docs/: generated parts equal the code, links resolve, commands and curl examples run."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from docs import api_pages, generate
from docs.check_site import external_assets
from service.config import Settings
from service.environment import PREFIX
from service.http.responses import FIGURE_HEADERS, INPUT_CHANGE_HEADERS
from tests.support.documents import run_curl_examples
from training.recipe import read_recipe

ROOT = api_pages.ROOT
PAGES = generate.pages()
MODULES = {"hourglass": "service", "hourglass-train": "training"}
LINK = re.compile(r"\]\(((?!https?:)[^)\s]+)\)")


def nav_files(entry: object) -> list[str]:
    """Return the files that a navigation names."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []
    return [file for part in parts for file in nav_files(part)]


def fenced(page: Path, language: str) -> str:
    """Return the code blocks of a page in one language."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated parts are those of an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_generated_parts_equal_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    assert generate.fill(text) == text, "run `make docs`"


def test_every_generator_is_used() -> None:
    used = {match[1] for page in PAGES for match in generate.MARKER.finditer(page.read_text("utf-8"))}
    assert used == set(generate.GENERATED)


def test_versions_of_shipped_models_exist() -> None:
    found = {match for page in PAGES for match in re.findall(r"\b(photo|photo-fast)@(\d+)", page.read_text("utf-8"))}
    assert found
    for name, version in found:
        assert (ROOT / "models" / name / version).is_dir(), f"{name}@{version}"


def test_python_of_your_own_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(fenced(ROOT / "docs/your-own-model.md", "python"), "your-own-model.md", "exec"), {})  # noqa: S102
    assert (tmp_path / "models/mine/1/denoise.onnx").exists()


INSTALLS_BY_NAME = re.compile(r"hourglass\[|pip3? install (?:-\S+ )*['\"]?hourglass")
"""Commands that would install another project: the name is taken on the public index."""


def test_nothing_is_installed_by_a_taken_name() -> None:
    folders = ("docs", "service", "training", "examples", "deploy", "notebooks")
    kinds = {".md", ".py", ".sh", ".yaml", ".yml", ".toml", ".txt", ".ipynb", ".mjs"}
    files = [*ROOT.glob("*.md"), ROOT / "Dockerfile"]
    files += [path for name in folders for path in (ROOT / name).rglob("*") if path.suffix in kinds]
    found = [path.name for path in files if INSTALLS_BY_NAME.search(path.read_text("utf-8"))]
    assert found == ["releasing.md"], "only that page names it, to warn"


def test_fill_replaces_stale_text() -> None:
    stale = "a\n<!-- generated: layers-service -->\nstale\n<!-- end -->\nb"
    page = generate.fill(stale)
    assert "stale" not in page
    assert generate.layers("service") in page
    assert generate.fill(page) == page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", it.lower()).strip()) for it in headings}


def test_navigation_has_every_page() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    expected = {page.name for page in PAGES} | {f"api/{name}" for name in api_pages.api_pages()}
    assert sorted(nav_files(nav)) == sorted(expected)


def test_api_pages_have_every_module_once() -> None:
    listed = [line[4:] for text in api_pages.api_pages().values() for line in text.splitlines() if line[:4] == "::: "]
    paths = [path for package in api_pages.PACKAGES for path in (ROOT / package).rglob("*.py")]
    expected = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    assert sorted(listed) == sorted(name for name in expected if not name.endswith("__main__"))


def test_public_names_have_docstrings() -> None:
    assert api_pages.undocumented() == []


@pytest.mark.parametrize(
    ("page", "loads"),
    [
        ('<script src="https://example.org/a.js"></script>', True),
        ('<link rel="stylesheet" href="//example.org/a.css">', True),
        ('<link rel="canonical" href="https://example.org/"><a href="https://example.org">', False),
        ('<pre class="mermaid">', True),
        ('<img src="a.png">', False),
    ],
)
def test_external_assets_are_found(page: str, loads: bool) -> None:
    assert bool(external_assets(page)) == loads


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_and_variables_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"HOURGLASS_DATA", PREFIX}
    if page.name != "compatibility.md":  # names of other systems and misspelt ones are cases there
        assert set(re.findall(r"HOURGLASS_[A-Z_]*", text)) <= known


def test_headers_of_the_http_page_exist() -> None:
    text = (api_pages.DOCS / "http-api.md").read_text("utf-8")
    code = "".join(path.read_text("utf-8").lower() for path in (ROOT / "service").rglob("*.py"))
    named = {name.lower() for name in re.findall(r"`(X-[A-Za-z-]+)`", text)}
    assert all(name in code for name in named), sorted(named)
    assert {header.decode() for header in (FIGURE_HEADERS | INPUT_CHANGE_HEADERS).values()} <= named


def test_documented_command_lines_are_valid() -> None:
    """Every command of the pages exists, and its help lists every flag; keys of --set are keys of the recipe."""
    for page in PAGES:
        commands = fenced(page, "sh").replace("\\\n", " ")
        for name, arguments in re.findall(r"^(hourglass|hourglass-train) (.+)$", commands, re.MULTILINE):
            command, *words = shlex.split(arguments, comments=True)
            program = [sys.executable, "-m", MODULES[name], command, "--help"]
            shown = subprocess.run(program, check=True, capture_output=True, text=True, cwd=ROOT).stdout
            for flag in (word for word in words if word.startswith("-")):
                assert flag in shown, (page.name, arguments)
            settings = [value for word, value in pairwise(words) if word == "--set"]
            if settings:
                read_recipe(words[0], settings)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_examples_work_when_pasted(tmp_path: Path) -> None:
    assert run_curl_examples(fenced(api_pages.DOCS / "quickstart.md", "sh"), tmp_path) >= 8

"""The walls of the house: what loads what, and which file alone may import a library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])
BORDERS = {
    "onnxruntime": {"service/runtime/session.py"},
    "PIL": {
        "service/codec/picture.py",
        "service/codec/resize.py",
        "service/codec/png.py",
        "service/codec/bit_depth.py",
        "service/codec/truncated.py",
    },
    "isal": {"service/codec/png.py"},
    "simplejpeg": {"service/codec/jpeg.py"},
}


BRIDGES = {
    "training.data.folder": {"service.codec", "service.errors"},
    "training.data.patches": {"service.codec"},
    "training.export.artifact": {
        "service.card",
        "service.errors",
        "service.repository.loader",
        "service.runtime.session",
        "service.runtime.tensors",
    },
}
"""Every import of the service by training: whole module names on both sides."""


def service_modules(path: Path) -> set[str]:
    """The modules and packages of the service that a file imports from."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    whole = {f"service.{alias.name}" for node in nodes if node.module == "service" for alias in node.names}
    return whole | {node.module for node in nodes if node.module and node.module.startswith("service.")}


def loaded_by(module: str) -> set[str]:
    """What a fresh interpreter has loaded after importing a module."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(run.stdout.split())


def imports(path: Path) -> set[str]:
    """The whole names a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_service_loads_neither_torch_nor_onnx_nor_training() -> None:
    found = loaded_by("service.server.run")
    assert "onnxruntime" in found
    assert not found & {"torch", "onnx", "onnxscript", "training", "sklearn", "scipy", "matplotlib", "safetensors"}


def test_the_card_loads_pydantic_alone() -> None:
    assert not loaded_by("service.card") & {"fastapi", "starlette", "onnxruntime", "numpy", "PIL"}


def test_reading_data_loads_no_torch() -> None:
    assert "torch" not in loaded_by("training.data")


@pytest.mark.parametrize("library", BORDERS)
def test_one_file_knows_one_library(library: str) -> None:
    knowing = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(name.split(".")[0] == library for name in imports(path)) and path.is_relative_to(ROOT / "service")
    }
    assert knowing == BORDERS[library]


def test_training_crosses_into_the_service_only_by_its_bridges() -> None:
    crossings: dict[str, set[str]] = {}
    for path in ROOT.glob("training/**/*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        targets = service_modules(path)
        if targets:
            crossings[module] = targets
    assert crossings == BRIDGES


def test_every_file_says_what_it_is() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_service_counts_time_by_clocks_that_never_jump() -> None:
    jumping = {"time.time", "time.time_ns", "datetime.datetime"}
    for path in ROOT.glob("service/**/*.py"):
        if (
            path == ROOT / "service" / "auth.py"
        ):  # its library counts by the wall clock; test_access shows that none is kept out
            continue
        tree = ast.parse(path.read_text())
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not (used | imports(path)) & jumping, path


def test_nothing_loads_pickles() -> None:
    for path in SOURCES:
        assert not imports(path) & {"pickle", "marshal", "shelve", "dill", "joblib"}, path
        assert "allow_pickle=True" not in path.read_text(), path

"""The architecture: which module loads which library, and rules for all modules and tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_TEST_NAME = 60
SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])
BORDERS = {
    "onnxruntime": {"service/runtime/session.py"},
    "PIL": {
        "service/codec/encoder.py",
        "service/codec/picture.py",
        "service/codec/resize.py",
        "service/codec/png.py",
        "service/codec/pages.py",
        "service/codec/bit_depth.py",
        "service/codec/truncated.py",
        "service/codec/colour.py",
        "service/codec/pillow_metadata.py",
        "service/codec/tiff_samples.py",
    },
    "isal": {"service/codec/png.py", "service/codec/png_chunks.py", "service/codec/png_text.py"},
    "simplejpeg": {"service/codec/jpeg.py"},
}


WALL_CLOCK = {"auth.py", "telemetry/metrics.py", "telemetry/tracing.py"}
"""Modules that read the wall clock: one whose library does (test_auth covers a clock that is set back), one that
reports the time of the last request, and one that dates spans."""

BRIDGES = {
    "training.recipe": {"service.card"},
    "training.nets.base": {"service.card"},
    "training.data.folder": {"service.codec", "service.errors"},
    "training.data.patches": {"service.codec"},
    "training.export.onnx_graph": {"service.card"},
    "training.export.artifact": {
        "service.card",
        "service.errors",
        "service.repository.loader",
        "service.runtime.session",
        "service.runtime.tensors",
    },
    "training.export.code_tables": {"service.codec.range_coder"},
    "training.export.imported": {"service.card", "service.runtime.tensors"},
    "training.export.memory": {"service.card", "service.runtime.session"},
}
"""Every import of the service by training, by full module names."""


def service_modules(path: Path) -> set[str]:
    """Return the modules and packages of the service that a file imports from."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    whole = {f"service.{alias.name}" for node in nodes if node.module == "service" for alias in node.names}
    return whole | {node.module for node in nodes if node.module and node.module.startswith("service.")}


def loaded_by(module: str) -> set[str]:
    """Return the packages that a new interpreter has loaded after importing a module."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(run.stdout.split())


def imports(path: Path) -> set[str]:
    """Return the full names that a file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_service_loads_neither_torch_nor_onnx_nor_training() -> None:
    modules = loaded_by("service.server.run")
    assert "onnxruntime" in modules
    assert not modules & {
        "torch",
        "onnx",
        "onnxscript",
        "training",
        "sklearn",
        "scipy",
        "matplotlib",
        "safetensors",
        "grpc",
        "ray",
    }


def test_card_loads_pydantic_only() -> None:
    assert not loaded_by("service.card") & {"fastapi", "starlette", "onnxruntime", "numpy", "PIL"}


def test_reading_data_loads_no_torch() -> None:
    assert "torch" not in loaded_by("training.data")


@pytest.mark.parametrize("library", BORDERS)
def test_library_is_imported_by_its_files_only(library: str) -> None:
    knowing = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(name.split(".")[0] == library for name in imports(path)) and path.is_relative_to(ROOT / "service")
    }
    assert knowing == BORDERS[library]


def test_training_imports_the_service_in_listed_modules_only() -> None:
    crossings: dict[str, set[str]] = {}
    for path in ROOT.glob("training/**/*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        targets = service_modules(path)
        if targets:
            crossings[module] = targets
    assert crossings == BRIDGES


def test_every_module_has_a_docstring() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_service_uses_monotonic_clocks() -> None:
    jumping = {"time.time", "time.time_ns", "datetime.datetime"}
    for path in ROOT.glob("service/**/*.py"):
        if path.relative_to(ROOT / "service").as_posix() in WALL_CLOCK:
            continue
        tree = ast.parse(path.read_text())
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not (used | imports(path)) & jumping, path


def test_nothing_imports_pickle() -> None:
    for path in SOURCES:
        assert not imports(path) & {"pickle", "marshal", "shelve", "dill", "joblib"}, path
        assert "allow_pickle=True" not in path.read_text(), path


def long_test_names(source: str) -> list[str]:
    """Return the names of test functions in a source text that are longer than MAX_TEST_NAME characters."""
    nodes = ast.walk(ast.parse(source))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in names if name.startswith("test_") and len(name) > MAX_TEST_NAME]


def test_names_of_tests_are_short() -> None:
    assert long_test_names(f"def test_{'a' * MAX_TEST_NAME}(): pass")
    for path in ROOT.glob("tests/**/*.py"):
        assert not long_test_names(path.read_text()), path

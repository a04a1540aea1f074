"""The API pages, one for each package, and the search for public names without a docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PACKAGES = ("service", "training")
"""Public names that may lack a docstring for now; the list may only become shorter."""


def api_pages() -> dict[str, str]:
    """Return the API pages by file name, one for each package: a directive for each of its public modules."""
    texts: dict[str, str] = {}
    for package in PACKAGES:
        top = sorted((ROOT / package).glob("*.py"))
        texts[f"{package}.md"] = _api_page(package, top)
        for folder in sorted(path.parent for path in (ROOT / package).glob("*/__init__.py")):
            texts[f"{package}.{folder.name}.md"] = _api_page(f"{package}.{folder.name}", sorted(folder.rglob("*.py")))
    return texts


def _api_page(name: str, paths: list[Path]) -> str:
    modules = [_module_name(path) for path in paths if path.stem != "__main__"]
    return f"# {name}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def undocumented() -> list[str]:
    """Return the public modules, classes, functions and methods that have no docstring of their own or inherited."""
    trees = {
        path: ast.parse(path.read_text("utf-8")) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    }
    classes = {
        node.name: node for parsed in trees.values() for node in ast.walk(parsed) if isinstance(node, ast.ClassDef)
    }
    names: list[str] = []
    for path, parsed in sorted(trees.items()):
        module = _module_name(path)
        if not ast.get_docstring(parsed):
            names.append(module)
        names += [f"{module}.{name}" for name in _undocumented_members(parsed, classes)]
    return names


def _undocumented_members(node: ast.Module | ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    for member in node.body:
        if not isinstance(member, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or member.name.startswith("_"):
            continue
        inherited = isinstance(node, ast.ClassDef) and _is_inherited(node, member.name, classes)
        if not ast.get_docstring(member) and not inherited:
            yield member.name
        if isinstance(member, ast.ClassDef):
            yield from (f"{member.name}.{name}" for name in _undocumented_members(member, classes))


def _is_inherited(node: ast.ClassDef, name: str, classes: dict[str, ast.ClassDef]) -> bool:
    """Return whether a base class documents the method, or comes from a library, which documents it itself."""
    for base in node.bases:
        parent = classes.get(ast.unparse(base).partition("[")[0].rpartition(".")[2])
        if parent is None:
            if ast.unparse(base) not in ("ABC", "BaseModel", "Protocol", "NamedTuple", "Exception"):
                return True
            continue
        for member in parent.body:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and member.name == name:
                return bool(ast.get_docstring(member))
        if _is_inherited(parent, name, classes):
            return True
    return False

"""Generates the parts of the documentation that repeat the code and the API pages, and checks docstrings.

A page names what it contains between two markers, and `make docs` rewrites the lines between them:

    <!-- generated: settings -->
    <!-- end -->

`python -m docs.generate` rewrites docs/*.md and docs/api/; it exits with status 1 if a public
name has no docstring. `python -m docs.generate --check-site` checks the built site.
"""

import ast
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from cyclopts import App
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console

from service.cli.commands import app as service_command
from service.config import PREFIX, Settings
from service.errors import problem_types
from service.http.app import create_app
from service.http.responses import FIGURE_HEADERS, INPUT_CHANGE_HEADERS
from service.http.schemas import ImageResult, InputChanges
from training.cli.commands import app as training_command
from training.recipe import Recipe
from training.studies import STUDIES

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SITE = ROOT / "site"
RECIPES_FOLDER = ROOT / "training" / "recipes"
PACKAGES = ("service", "training")
UNDOCUMENTED_FILE = DOCS / "undocumented.txt"
"""Public names that may lack a docstring for now; the list may only become shorter."""
MARKER = re.compile(r"(?<=<!-- generated: )([a-z-]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
HELP_WIDTH = 100
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
REACHED = {"stretch": "stretch goal", "yes": "yes", "no": "no", "": ""}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; `|` in cells is escaped."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# What a value may be, in words


def describe(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Describe a JSON schema in a few words: `integer, at least 1`, ``one of `a`, `b` ``, `list of numbers`."""
    if "$ref" in schema:
        return describe(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return ", or ".join(describe(option, definitions) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {describe(schema['prefixItems'][0], definitions)}"
        items = describe(schema["items"], definitions)
        return "list of " + re.sub(r"^(integer|number|string)", r"\1s", items)
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        return f"table of {describe(values, definitions)}" if isinstance(values, dict) else "table"
    kind = str(schema["type"])
    words = {"null": "none", "boolean": "`true` or `false`"}.get(kind, kind)
    return ", ".join([words, *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    if schema["type"] == "integer" and schema.get("exclusiveMinimum") == 0:
        schema = {"minimum": 1, **schema}
        del schema["exclusiveMinimum"]
    for key, words in BOUNDS.items():
        if key in schema:
            yield f"{words} {schema[key]:g}" if abs(schema[key]) < 1e6 else f"{words} {schema[key]:,}"


# The service


def settings() -> str:
    """Return the table of the settings."""
    schema = Settings.model_json_schema()
    rows: list[list[str]] = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        kind = describe(schema["properties"][name], schema.get("$defs", {})).replace('"', "")
        rows.append([f"`{PREFIX}{name.upper()}`", kind, default, field.description or ""])
    return table(["variable", "value", "default", "meaning"], rows)


def problems() -> str:
    """Return the table of the problem types."""
    rows = [[str(kind.status), f"`/problems/{kind.type}`", kind.title] for kind in problem_types()]
    return table(["status", "type", "title"], rows)


def _openapi() -> dict[str, Any]:
    app = create_app(Settings.model_validate({"models_dir": ROOT / "models", "model_watch": "off"}))
    return get_openapi(title=app.title, version=app.version, routes=app.routes)


def endpoints() -> str:
    """Return the table of the addresses, from the OpenAPI document."""
    rows: list[list[str]] = []
    for path, methods in _openapi()["paths"].items():
        for method, operation in methods.items():
            meaning = operation["summary"] if method == "post" else operation["description"].splitlines()[0]
            rows.append([f"`{method.upper()} {path}`", meaning])
    return table(["address", "answer"], rows)


def parameters() -> str:
    """Return the table of the query parameters and request headers, from the OpenAPI document."""
    named: dict[str, dict[str, Any]] = {}
    taken: dict[str, list[str]] = {}
    paths = {path: methods["post"] for path, methods in _openapi()["paths"].items() if "post" in methods}
    for path, operation in paths.items():
        for parameter in operation.get("parameters", ()):
            named[parameter["name"]] = parameter
            taken.setdefault(parameter["name"], []).append(f"`{path}`")
    rows: list[list[str]] = []
    for name, parameter in named.items():
        where = "all" if len(taken[name]) == len(paths) else ", ".join(taken[name])
        kind = describe(parameter["schema"], {}).replace('"', "")
        rows.append([f"`{name}`", parameter["in"], where, kind, parameter.get("description", "")])
    return table(["name", "in", "operations", "value", "meaning"], rows)


def figure_headers() -> str:
    """Return the table of the headers that carry what JSON responses carry as fields."""
    fields = ImageResult.model_fields | InputChanges.model_fields
    rows = [
        [f"`{_header_case(header.decode())}`", f"`{name}`", fields[name].description or ""]
        for name, header in (FIGURE_HEADERS | INPUT_CHANGE_HEADERS).items()
    ]
    return table(["header", "JSON field", "meaning"], rows)


def _header_case(name: str) -> str:
    return "-".join(word.upper() if word in ("mse", "psnr") else word.capitalize() for word in name.split("-"))


# The command lines


def commands(app: App, name: str) -> str:
    """Return the `--help` text of a program and of each of its commands."""
    own = [command for command in app if not command.startswith("-")]
    blocks = [f"```text\n$ {name} --help\n{help_text(app, [])}\n```"]
    blocks += [f"### {name} {one}\n\n```text\n$ {name} {one} --help\n{help_text(app, [one])}\n```" for one in own]
    return "\n\n".join(blocks)


def help_text(app: App, tokens: list[str]) -> str:
    """Return what `--help` prints on a terminal of 100 columns."""
    out = StringIO()
    app.help_print(tokens, console=Console(file=out, width=HELP_WIDTH, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


# Recipes


def recipe() -> str:
    """Return a section for every table of a recipe, with every key."""
    return "\n\n".join(_tables(name, field) for name, field in Recipe.model_fields.items())


def _tables(name: str, field: FieldInfo) -> str:
    sections = list(_sections(field.annotation))
    if len(sections) == 1:
        return f"## [{name}]\n\n{_section(sections[0])}"
    parts = [f"## [{name}]"]
    for section in sections:
        key, values = _discriminator(section)
        title = " or ".join(f'`{key} = "{value}"`' for value in values)
        parts.append(f"### {title}\n\n{_section(section, key)}")
    return "\n\n".join(parts)


def _section(section: type[BaseModel], discriminator: str = "") -> str:
    text = inspect.cleandoc(section.__doc__ or "")
    schema = section.model_json_schema()
    rows: list[list[str]] = []
    tables: list[str] = []
    for key, field in section.model_fields.items():
        if key == discriminator:
            continue
        nested = list(_sections(field.annotation))
        if len(nested) == 1:
            kind = "table"
            tables.append(f"#### Keys of `{key}`\n\n{_section(nested[0])}")
        else:
            kind = "list of tables" if nested else describe(schema["properties"][key], schema.get("$defs", {}))
        rows.append([f"`{key}`", kind, _default(field), " ".join((field.description or "").split())])
    keys = [table(["key", "value", "default", "meaning"], rows)] if rows else []
    return "\n\n".join([text, *keys, *tables])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{json.dumps(value)}`"


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the pydantic models that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _discriminator(section: type[BaseModel]) -> tuple[str, list[str]]:
    """Return the key that selects this table among others, and its values: the key whose values are all constants."""
    schema = section.model_json_schema()["properties"]
    for key in ("family", "kind", "source", "name"):
        if key in section.model_fields and ("const" in schema[key] or "enum" in schema[key]):
            return key, [schema[key]["const"]] if "const" in schema[key] else schema[key]["enum"]
    raise ValueError(f"{section.__name__} has no discriminator")


def example_recipe() -> str:
    """Return a shipped recipe."""
    return f"```toml\n{(RECIPES_FOLDER / 'digits-denoise.toml').read_text('utf-8').strip()}\n```"


# Architecture


def tree() -> str:
    """Return the packages and top-level modules with the first sentence of their docstrings."""
    rows: list[list[str]] = []
    for package in PACKAGES:
        folders = sorted(path.parent for path in (ROOT / package).glob("*/__init__.py"))
        files = sorted(path for path in (ROOT / package).glob("*.py") if path.name != "__init__.py")
        rows.append([f"**`{package}/`**", _first_sentence(ROOT / package / "__init__.py")])
        rows += [[f"`{package}/{folder.name}/`", _first_sentence(folder / "__init__.py")] for folder in folders]
        rows += [[f"`{package}/{path.name}`", _first_sentence(path)] for path in files]
    return table(["path", "role"], rows)


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0].removesuffix(".")


def layers(package: str) -> str:
    """Return the layers of a package from its import contract, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    contract = next(one for one in contracts if one.get("containers") == [package])
    rows = [
        [str(number), ", ".join(f"`{part.strip()}`" for part in layer.split("|"))]
        for number, layer in enumerate(contract["layers"], 1)
    ]
    return table(["layer", "modules"], rows)


# The lecture


def results() -> str:
    """Return the table of what the studies reached, from their stored results."""
    rows: list[list[str]] = []
    for study in STUDIES.values():
        first = f"[{study.title}](#{_anchor(study.title)})"
        for row in study.rows(_stored(study.name)):
            if row.target is not None:
                rows.append([first, row.label, f"{row.value:.4g}", row.target_text, REACHED[row.status]])
                first = ""
    return table(["question", "measured", "ours", "target", "reached"], rows)


def studies() -> str:
    """Return a section for every study: its question, its answer, its figures and the command that measures it."""
    parts: list[str] = []
    for study in STUDIES.values():
        figures = sorted((DOCS / "lecture").glob(f"{study.name}-*.png"))
        pictures = "\n\n".join(f"![{study.title}: {path.stem}](lecture/{path.name})" for path in figures)
        answer = study.summary(_stored(study.name))
        parts.append(f"## {study.title}\n\n> {study.question}\n\n{answer}\n\n{pictures}\n\n```sh\n{study.command}\n```")
    return "\n\n".join(parts)


def _stored(name: str) -> dict[str, Any]:
    return json.loads((DOCS / "lecture" / f"{name}.json").read_text("utf-8"))


def _anchor(title: str) -> str:
    """Return the anchor of a heading, as the site makes it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())


GENERATED: dict[str, Callable[[], str]] = {
    "settings": settings,
    "problems": problems,
    "endpoints": endpoints,
    "parameters": parameters,
    "figure-headers": figure_headers,
    "hourglass": lambda: commands(service_command, "hourglass"),
    "hourglass-train": lambda: commands(training_command, "hourglass-train"),
    "example-recipe": example_recipe,
    "recipe": recipe,
    "tree": tree,
    "layers-service": lambda: layers("service"),
    "layers-training": lambda: layers("training"),
    "results": results,
    "studies": studies,
}
"""What a marker may name."""


def fill(page: str) -> str:
    """Return a page with the text between its markers generated anew. Raises KeyError for an unknown marker."""
    return MARKER.sub(lambda match: f"{match[1]}{match[2]}\n{GENERATED[match[1]]()}\n\n", page)


def pages() -> list[Path]:
    """Return the written pages; those of docs/api/ are generated whole."""
    return sorted(DOCS.glob("*.md"))


# The API pages


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


# Docstrings


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


# The site


def external_assets(page: str) -> list[str]:
    """Return the addresses of scripts, styles, fonts and pictures that an HTML page loads from other hosts."""
    if 'class="mermaid"' in page:
        return ["mermaid"]  # the theme would load its renderer from another host
    tags = re.findall(r"<(?:script|img|iframe|link)\b[^>]*>", page)
    loaded = [tag for tag in tags if not re.search(r"""rel=["']?(?:canonical|next|prev)""", tag)]
    return [
        address for tag in loaded for address in re.findall(r"""(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", tag)
    ]


def check_site() -> None:
    """Exit with status 1 if a page of the built site loads something from another host."""
    found = {path: external_assets(path.read_text("utf-8")) for path in sorted(SITE.rglob("*.html"))}
    if not found or any(found.values()):
        sys.exit(f"the site is not there, or loads from other hosts: {[one for one in found.items() if one[1]][:5]}")


def main() -> None:
    """Rewrite the pages and the API pages, or check the built site. Exits with status 1 if a check fails."""
    if "--check-site" in sys.argv:
        check_site()
        return
    for page in pages():
        page.write_text(fill(page.read_text("utf-8")), "utf-8")
    (DOCS / "api").mkdir(exist_ok=True)
    texts = api_pages()
    for path in (DOCS / "api").glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (DOCS / "api" / name).write_text(text, "utf-8")
    allowed = set(UNDOCUMENTED_FILE.read_text("utf-8").split())
    if missing := [name for name in undocumented() if name not in allowed]:
        sys.exit("these public names have no docstring:\n  " + "\n  ".join(missing))


if __name__ == "__main__":
    main()

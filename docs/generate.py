"""Generates the parts of the documentation that repeat the code, and writes the API pages.

A page names what it contains between two markers, and `make docs` rewrites the lines between them:

    <!-- generated: settings -->
    <!-- end -->

`python -m docs.generate` rewrites docs/*.md and docs/api/; it exits with status 1 if a public name has no docstring.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from cyclopts import App
from fastapi.openapi.utils import get_openapi
from rich.console import Console

from docs.api_pages import DOCS, PACKAGES, ROOT, api_pages, undocumented
from docs.compatibility_tables import compatibility
from docs.markdown import describe, table
from docs.metadata_table import metadata
from docs.recipe_tables import example_recipe, recipe
from service.cli.commands import app as service_command
from service.config import Settings
from service.environment import PREFIX
from service.errors import problem_types
from service.http.app import create_app
from service.http.responses import FIGURE_HEADERS, INPUT_CHANGE_HEADERS, METADATA_HEADERS
from service.http.schemas import ImageResult, InputChanges
from service.telemetry.metric_specs import EXPORTED, GAUGES
from training.cli.commands import app as training_command
from training.studies import STUDIES

MARKER = re.compile(r"(?<=<!-- generated: )([a-z-]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
HELP_WIDTH = 100
PLAYGROUND = "http://127.0.0.1:8000/"
PLACES = {
    "points": ("models/points-3d", "the card of `points-3d` has its error beside that of PCA."),
    "patches": ("reconstruct/digits-sparse", "what each unit of a sparse code draws, for whole digits."),
    "linear": ("models/digits", "the card of `digits` has its error beside that of PCA with as many numbers."),
    "undercomplete": (
        "reconstruct/digits-deep",
        "draw a digit, and compare `digits-deep` with `digits`.",
    ),
    "plane": ("latent/digits-2d", "the plane, its gaps, and the digits along a line."),
    "generation": (
        "generate/digits-vae",
        "random codes; on the plane, `digits-vae-2d` has fewer gaps than `digits-2d`.",
    ),
    "copying": ("reconstruct/digits", "press Noise: a code of 32 numbers cannot copy what is no digit."),
    "sparsity": (
        "reconstruct/digits-sparse",
        "the active units of a digit, what each draws, and the digit without one.",
    ),
    "denoising": (
        "denoise/digits-denoise",
        "the model of digits takes any picture at 28x28; noise of four kinds can be added.",
    ),
    "compression": ("reconstruct/digits", "32 numbers are the whole code of a digit."),
    "faces": ("reconstruct/digits", "draw something that is no digit, and watch the error percentile."),
    "heartbeats": ("models/ecg-anomaly", "the model, once it is published: the card has its threshold."),
    "defects": ("models/defects", "the model, once it is published, with the percentiles of its error."),
    "photos": ("denoise/photo", "a photograph of yours with noise of a chosen level, and the PSNR before and after."),
}
"""Where on the playground the answer of a study can be seen, and what to do there."""
REACHED = {"stretch": "stretch goal", "yes": "yes", "no": "no", "": ""}


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


def metrics() -> str:
    """Return the table of the metrics."""
    rows: list[list[str]] = []
    for spec in (*EXPORTED, *GAUGES):
        kind = "gauge" if spec in GAUGES else "histogram" if spec.buckets else "counter"
        name = f"{spec.name}_total" if kind == "counter" else spec.name
        rows.append([f"`{name}`", kind, ", ".join(f"`{label}`" for label in spec.labels), spec.help])
    return table(["metric", "kind", "labels", "meaning"], rows)


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
        for name, header in (FIGURE_HEADERS | INPUT_CHANGE_HEADERS | METADATA_HEADERS).items()
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
        place, hint = PLACES[study.name]
        link = f"See it on the [playground]({PLAYGROUND}#{place}): {hint}"
        shown = f"{answer}\n\n{pictures}\n\n{link}"
        parts.append(f"## {study.title}\n\n> {study.question}\n\n{shown}\n\n```sh\n{study.command}\n```")
    return "\n\n".join(parts)


def _stored(name: str) -> dict[str, Any]:
    return json.loads((DOCS / "lecture" / f"{name}.json").read_text("utf-8"))


def _anchor(title: str) -> str:
    """Return the anchor of a heading, as the site makes it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())


GENERATED: dict[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "problems": problems,
    "endpoints": endpoints,
    "parameters": parameters,
    "figure-headers": figure_headers,
    "metadata": metadata,
    "compatibility": compatibility,
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


def main() -> None:
    """Rewrite the pages and the API pages. Exits with status 1 if a public name has no docstring."""
    for page in pages():
        page.write_text(fill(page.read_text("utf-8")), "utf-8")
    (DOCS / "api").mkdir(exist_ok=True)
    texts = api_pages()
    for path in (DOCS / "api").glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (DOCS / "api" / name).write_text(text, "utf-8")
    if missing := undocumented():
        sys.exit("these public names have no docstring:\n  " + "\n  ".join(missing))


if __name__ == "__main__":
    main()

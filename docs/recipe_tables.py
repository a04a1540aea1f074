"""The tables of every key of a recipe, from the pydantic models."""

import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.api_pages import ROOT
from docs.markdown import describe, table
from training.recipe import Recipe

RECIPES_FOLDER = ROOT / "training" / "recipes"


def recipe() -> str:
    """Return a section for every table of a recipe, with every key."""
    return "\n\n".join(_tables(name, field) for name, field in Recipe.model_fields.items())


def _tables(name: str, field: FieldInfo) -> str:
    sections = list(_sections(field.annotation))
    if len(sections) == 1:
        title = f"[[{name}]]" if get_origin(field.annotation) is list else f"[{name}]"
        return f"## {title}\n\n{_section(sections[0])}"
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
    kinds = json.dumps(value, default=lambda table: table.model_dump(include={"kind"}))
    return "none" if value is None else f"`{kinds}`"


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

"""Markdown tables, and JSON schemas in a few words."""

import json
import re
from collections.abc import Iterator
from typing import Any

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; `|` in cells is escaped."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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

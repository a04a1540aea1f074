"""Explains invalid settings: where each value came from, what it is and what would be valid."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

MAX_SHOWN_CHARACTERS = 40  # of a refused value


def explain_errors(settings: type[BaseModel], error: ValidationError, variables: Mapping[str, str]) -> str:
    """Return the errors of a validation of settings, as one sentence each.

    `variables` is the environment variable of each field that was read from one. Other fields are called by their flag.
    """
    return "; ".join(_explain(settings, detail, variables) for detail in error.errors())


def _explain(settings: type[BaseModel], detail: Any, variables: Mapping[str, str]) -> str:
    """Return one error of pydantic with where the value came from, the value and what would be valid."""
    name = str(detail["loc"][0])
    flag = f"--{name.replace('_', '-')}"
    source = f"{variables[name]} in the environment" if name in variables else f"the flag {flag}"
    value = str(detail["input"])
    shown = value if len(value) <= MAX_SHOWN_CHARACTERS else value[:MAX_SHOWN_CHARACTERS] + "..."
    return f"{source} is {_kind(value)} {shown!r}, but must be {_expected(settings, name, detail)}"


def _kind(value: str) -> str:
    """Return the kind of a value in a word or two."""
    if "://" in value:
        return "the URL"
    try:
        number = float(value)
    except ValueError:
        return "the text"
    return "the whole number" if number.is_integer() and "." not in value else "the number"


def _expected(settings: type[BaseModel], name: str, detail: Any) -> str:
    """Return what a setting may be: the message of its own validator, or its type with its bounds and its default."""
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"]).removeprefix("must be ")
    field = settings.model_fields[name]
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(get_args(field.annotation))
    schema = settings.model_json_schema()["properties"][name]
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
    bounds = (("minimum", "at least"), ("exclusiveMinimum", "greater than"), ("maximum", "at most"))
    limits = " and ".join(f"{words} {schema[key]:g}" for key, words in bounds if key in schema)
    kind = kinds.get(schema.get("type", ""), "the path of a file")
    return f"{kind}{' ' if limits else ''}{limits}, such as {_example(field.default)}"


def _example(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)

"""What pydantic finds wrong with a recipe, as sentences that a person can act on. Knows tables, no experiment."""

from typing import Any, get_args

from training.schema import StrictModel, suggestion


def format_error(error: Any, root: type[StrictModel]) -> str:
    """One pydantic fault as `key: what is wrong`, with the near match of an unknown key; `root`: the whole recipe."""
    path, tables = _resolve([str(part) for part in error["loc"]], root)
    if error["type"] == "extra_forbidden":
        known = [key for table in tables for key in table.model_fields]
        return f"{'.'.join(path)}: no such key; {suggestion(path[-1], known)}"
    return f"{'.'.join(path) or 'recipe'}: {error['msg'].removeprefix('Value error, ')}"


def _resolve(location: list[str], root: type[StrictModel]) -> tuple[list[str], list[type[StrictModel]]]:
    """The keys in pydantic's location, which also names the member of a union, and the tables that the last lies in.

    The number of a table in a list is a key that leads to no other table.
    """
    keys: list[str] = []
    tables: list[type[StrictModel]] = []
    inside: list[type[StrictModel]] = [root]
    for part in location:
        chosen = [table for table in inside if any(field.default == part for field in table.model_fields.values())]
        if chosen and len(inside) > 1:
            inside = chosen
            continue
        keys.append(part)
        if part.isdecimal():
            continue
        tables, inside = (
            inside,
            [
                section
                for table in inside
                if part in table.model_fields
                for section in _sections(table.model_fields[part].annotation)
            ],
        )
    return keys, tables


def _sections(annotation: Any) -> list[type[StrictModel]]:
    """The tables that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]

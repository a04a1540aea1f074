"""Formats pydantic's validation errors of a recipe as messages with the key, the problem and a suggestion."""

from typing import Any, get_args

from training.schema import RecipeTable, suggestion

RENAMED = (
    ("optimisation", "optimizer"),
    ("optimizer.method", "name"),
    ("optimizer.clip", "grad_clip"),
    ("optimizer.ema", "ema_decay"),
    ("optimizer.validation", "validation_fraction"),
    ("optimizer.checkpoint", "checkpoint_every"),
    ("data.name", "source"),
    ("data.items", "limit"),
    ("data.test", "test_fraction"),
    ("data.broken", "max_broken_fraction"),
    ("data.detail", "min_detail"),
    ("data.validation", "test_path"),
    ("net.active", "top_k"),
    ("net.lifetime", "lifetime_sparsity"),
    ("net.units", "normalize"),
    ("net.step", "quantization_step"),
    ("net.family=winners", "winner-take-all"),
    ("net.normalize=as given", "none"),
    ("net.normalize=range", "minmax"),
    ("augmentation.shrink", "random_downscale"),
    ("augmentation.grey", "grayscale"),
    ("corruption.share", "fraction"),
    ("corruption.share", "probability"),
    ("corruption.kind=blind", "gaussian-blind"),
    ("objective.binary", "binarize"),
    ("objective.importance", "iwae"),
    ("objective.loss=psnr", "log_mse"),
    ("objective.penalties.activity", "l1"),
    ("objective.penalties.prior", "kl_prior"),
    ("objective.penalties.rare", "kl_sparsity"),
)
"""Renamed keys, and renamed values after `=`: old name and new name. Old names are errors that mention the new one."""


def format_error(error: Any, root: type[RecipeTable]) -> str:
    """Return one pydantic error as `key: message`; for an unknown key, with its new name or the closest known key.

    `error` is an item of `ValidationError.errors()`, `root` the model that was validated.
    """
    path, tables = _resolve([str(part) for part in error["loc"]], root)
    known = [key for table in tables for key in table.model_fields]
    for old, new in _old_names(error, path):
        if error["type"] != "extra_forbidden" or new in known:
            key, equals, value = old.partition("=")
            message = f"{value!r} was renamed to {new!r}" if equals else f"unknown key; it was renamed to {new}"
            return f"{key}: {message}"
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown key; {suggestion(path[-1], known)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing" and len(path) == 1:
        message = f"the table [{path[0]}] is missing"
    elif error["type"] == "string_pattern_mismatch":
        message = f"{error['input']!r} is not allowed; use lower-case letters, digits and hyphens"
    elif message.startswith("Input should") and isinstance(error["input"], str | int | float):
        message = f"{message.replace('Input should', 'must')}, and is {error['input']!r}"
    return f"{'.'.join(path) or 'recipe'}: {message}"


def _old_names(error: Any, path: list[str]) -> list[tuple[str, str]]:
    """Return the old names in RENAMED that the error may be about, as the recipe spells them, with their new names."""
    value, where = error["input"], ".".join(path)
    discriminator = error.get("ctx", {}).get("discriminator", "").strip("'")
    if error["type"] == "extra_forbidden":
        candidates = [where]
    elif error["type"] == "union_tag_invalid":
        candidates = [f"{where}.{discriminator}={error['ctx']['tag']}"]
    elif isinstance(value, dict):  # a table without its discriminator, or one that a validator rejects
        candidates = [f"{where}.{key}" for key in value]
    else:
        candidates = [f"{where}={value}"]
    return [
        (name, new)
        for name in candidates
        for old, new in RENAMED
        if old == ".".join(part for part in name.split(".") if part != "of" and not part.isdecimal())
    ]


def _resolve(location: list[str], root: type[RecipeTable]) -> tuple[list[str], list[type[RecipeTable]]]:
    """Return the keys in a pydantic location, and the tables that may contain the last key.

    A location also names the chosen member of a union, which is no key. The index of a table in a list is a key, but
    the table it leads to is the same for all indices.
    """
    keys: list[str] = []
    tables: list[type[RecipeTable]] = []
    inside: list[type[RecipeTable]] = [root]
    for part in location:
        chosen = [
            table
            for table in inside
            if any(part in get_args(field.annotation) for field in table.model_fields.values())
        ]
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


def _sections(annotation: Any) -> list[type[RecipeTable]]:
    """Return the models of tables in an annotation, unions included."""
    if isinstance(annotation, type) and issubclass(annotation, RecipeTable):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]

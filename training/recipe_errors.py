"""What pydantic finds wrong with a recipe, as sentences that a person can act on. Knows tables, no experiment."""

from typing import Any, get_args

from training.schema import StrictModel, suggestion

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
"""Keys, and values behind `=`, that had another name once: old and new. The old ones are refused, with the new one."""


def format_error(error: Any, root: type[StrictModel]) -> str:
    """One pydantic fault as `key: what is wrong`, with the near match of an unknown key; `root`: the whole recipe."""
    path, tables = _resolve([str(part) for part in error["loc"]], root)
    known = [key for table in tables for key in table.model_fields]
    for old, new in _old_names(error, path):
        if error["type"] != "extra_forbidden" or new in known:
            key, equals, value = old.partition("=")
            what = f"{value!r} is called {new!r} now" if equals else f"no such key: it is called {new} now"
            return f"{key}: {what}"
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: no such key; {suggestion(path[-1], known)}"
    return f"{'.'.join(path) or 'recipe'}: {error['msg'].removeprefix('Value error, ')}"


def _old_names(error: Any, path: list[str]) -> list[tuple[str, str]]:
    """What the fault may be about, as it is written in the recipe, that is a row of RENAMED; each with its new name."""
    given, where = error["input"], ".".join(path)
    tag = error.get("ctx", {}).get("discriminator", "").strip("'")
    if error["type"] == "extra_forbidden":
        asked = [where]
    elif error["type"] == "union_tag_invalid":
        asked = [f"{where}.{tag}={error['ctx']['tag']}"]
    elif isinstance(given, dict):  # a table without what tells its kind, or with a key that a validator refuses
        asked = [f"{where}.{key}" for key in given]
    else:
        asked = [f"{where}={given}"]
    return [
        (name, new)
        for name in asked
        for old, new in RENAMED
        if old == ".".join(part for part in name.split(".") if part != "of" and not part.isdecimal())
    ]


def _resolve(location: list[str], root: type[StrictModel]) -> tuple[list[str], list[type[StrictModel]]]:
    """The keys in pydantic's location, which also names the member of a union, and the tables that the last lies in.

    The number of a table in a list is a key that leads to no other table.
    """
    keys: list[str] = []
    tables: list[type[StrictModel]] = []
    inside: list[type[StrictModel]] = [root]
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


def _sections(annotation: Any) -> list[type[StrictModel]]:
    """The tables that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]

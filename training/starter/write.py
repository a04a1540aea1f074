"""Writes a recipe as TOML with its reasons, and measures how long its run takes."""

import json
import re
from dataclasses import dataclass
from typing import Any

from training.data import load
from training.loop.pace import USED_SHARE, measure_step, steps_per_epoch
from training.recipe import Recipe, from_tables
from training.starter.draft import Choice, Draft, Table, Task
from training.starter.silence import SUMMARIZED, silenced

MAX_STEPS, MIN_STEPS = 20_000, 300
"""Bounds of the steps of a first run: more is rarely of use for a net of this size, fewer do not learn."""
MAX_EPOCHS = 2000
COMMENT_COLUMN = 36
"""Column at which comments start, if the values leave room."""
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class StarterRecipe:
    """A recipe as text, and the steps and seconds of its run on this machine."""

    text: str
    recipe: Recipe
    steps: int
    seconds: float


def write_recipe(task: Task, draft: Draft, name: str, summary: list[str], minutes: float) -> StarterRecipe:
    """Return a recipe whose run takes about so many minutes here. Raises DataError if the data cannot be read."""
    tables: dict[str, Table] = {
        "model": {"name": Choice(name, "the folder of the model, and its name in requests"), **draft.model},
        "data": draft.data,
        "net": draft.net,
        "augmentation": draft.augmentation,
        "corruption": draft.corruption,
        "objective": draft.objective,
        "optimizer": draft.optimizer,
    }
    tables = {table: choices for table, choices in tables.items() if choices}
    recipe = from_tables(_plain(tables))
    with silenced(*SUMMARIZED):
        data = load(recipe.data, None)
    seconds = measure_step(recipe, data)
    per_epoch = steps_per_epoch(recipe, data)
    epochs = epochs_within(minutes, seconds, per_epoch)
    length = {
        "epochs": Choice(epochs, f"{epochs * per_epoch:,} steps of {1000 * seconds:.3g} ms where this was written")
    }
    if "validation_fraction" in draft.optimizer:
        length["patience"] = Choice(max(5, epochs // 4), "epochs without a lower validation loss after which it stops")
    tables["optimizer"] = {**length, **draft.optimizer}
    text = _render(task, tables, summary)
    steps = epochs * per_epoch
    return StarterRecipe(text, from_tables(_plain(tables)), steps, steps * seconds / USED_SHARE)


def epochs_within(minutes: float, seconds: float, per_epoch: int) -> int:
    """Return the number of epochs of `per_epoch` steps that fit into so many minutes, at `seconds` a step."""
    steps = max(MIN_STEPS, min(MAX_STEPS, 60 * minutes * USED_SHARE / seconds))
    return max(1, min(MAX_EPOCHS, round(steps / per_epoch)))


def model_name(text: str) -> str:
    """Return text as the name of a model: lower-case letters, digits and hyphens."""
    ascii_text = text.lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:MAX_NAME].strip("-") or "my-model"


def _plain(tables: dict[str, Table]) -> dict[str, Any]:
    return {name: {key: choice.value for key, choice in table.items()} for name, table in tables.items()}


def _render(task: Task, tables: dict[str, Table], summary: list[str]) -> str:
    """Return the text of the recipe: the summary as comments, then the tables, a reason beside each value."""
    lines = [f"# Task {task}, written by hourglass-train new. docs/recipes.md explains every key.", "#"]
    lines += [f"# {line}" for line in summary]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        for key, choice in table.items():
            assignment = f"{key} = {toml(choice.value)}"
            lines.append(f"{assignment:<{COMMENT_COLUMN}}  # {choice.reason}" if choice.reason else assignment)
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML. Backslashes of paths stay as they are, in single quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = "'" not in value and value.isprintable()
        return f"'{value}'" if "\\" in value and plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return repr(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)

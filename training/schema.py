"""The base of all tables of a recipe: strict, frozen pydantic models that reject unknown keys."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NOT_STATED = "not stated"
"""The licence of a model or of its data, if the recipe names none."""
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("a range is two numbers, at least 0, the smaller first")
    return pair


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_rising)]
"""Lowest and highest value, at least 0; an array of two numbers in TOML."""


class RecipeTable(BaseModel):
    """Base class of the tables of a recipe. The docstring of a field describes its key in `docs/recipes.md`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def suggestion(word: str, known: list[str]) -> str:
    """Return a hint for an unknown word: the closest of the `known` words, or all of them."""
    match = get_close_matches(word, known, n=1)
    return f"did you mean {match[0]}?" if match else f"choose from {', '.join(known)}"

"""What every part of a recipe is: pydantic data, strict, frozen, unknown keys refused. Knows no part."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("a range is two numbers from 0 up, the smaller first")
    return pair


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_rising)]
"""Lowest and highest value; an array of two numbers in TOML."""


class StrictModel(BaseModel):
    """One table of a recipe."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def suggestion(word: str, known: list[str]) -> str:
    """What to say of an unknown word: the near match, or all that is known."""
    match = get_close_matches(word, known, n=1)
    return f"did you mean {match[0]}?" if match else f"there are {', '.join(known)}"

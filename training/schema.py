"""What every part of a recipe is: pydantic data, strict, frozen, unknown keys refused. Knows no part."""

from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]


class StrictModel(BaseModel):
    """One table of a recipe."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def suggestion(word: str, known: list[str]) -> str:
    """What to say of an unknown word: the near match, or all that is known."""
    match = get_close_matches(word, known, n=1)
    return f"did you mean {match[0]}?" if match else f"there are {', '.join(known)}"

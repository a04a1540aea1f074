"""Texts for validation errors of request bodies, where those of pydantic say nothing to a client."""

from pydantic_core import ErrorDetails

TEXTS = {
    "too_short": "must have at least one item",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "model_type": "must be a JSON object",
}


def describe_error(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value."""
    return TEXTS.get(error["type"], error["msg"])


def shown(name: object) -> str:
    """Return a name that a client sent if it is one, else a word for it: other bytes are never repeated."""
    text = str(name)
    return text if text.isidentifier() and text.isascii() and len(text) <= 40 else "another field"

"""What to name in place of a model that is not there, or that does not have an operation."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from service.card import Operation
from service.repository.store import Store

CUTOFF = 0.6  # similarity (0..1) from which a name is suggested
VERSIONED = re.compile(r"([A-Za-z0-9._-]{1,64})@v?([1-9][0-9]{0,8})")
MAX_LISTED = 20  # names in an error


def describe_missing(store: Store, name: str, operation: Operation | None = None) -> str:
    """Return that there is no model of a name, the nearest name, and the models of the operation."""
    names = [*store.snapshot.serving_versions()]
    if match := VERSIONED.fullmatch(name):
        model = match[1] if match[1] in names else nearest(match[1], names)
        hint = f": write model={model}&version={match[2]}" if model else ""
    else:
        model = nearest(name, names)
        hint = f", did you mean {model}?" if model else ""
    return f"model: there is no such model{hint}; {list_models(store, operation)}"


def list_models(store: Store, operation: Operation | None = None) -> str:
    """Return the models that have an operation, or where all models are listed."""
    names = store.models_for(operation) if operation else []
    if not names or len(names) > MAX_LISTED:
        return "GET /models lists all"
    unread = any(standby.card is None for standby in store.snapshot.standby.values())
    return f"models that {operation}: {', '.join(names)}{' and others; GET /models lists all' if unread else ''}"


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the most similar of the names, or an empty string if none is similar."""
    return next(iter(get_close_matches(name[:64].lower(), names, 1, CUTOFF)), "")

"""Names of models in the Open Inference Protocol: one for each operation of a model, such as `digits.denoise`."""

from typing import Final, NamedTuple, cast, get_args

from service.card import Operation

SEPARATOR = "."
"""Names of models contain letters, digits and hyphens, so a dot is unambiguous, also in a path."""
OPERATIONS: Final = frozenset(get_args(Operation))


class ModelName(NamedTuple):
    """The name of a model of Hourglass, and an operation, or None if a name has none."""

    model: str
    operation: Operation | None


def join_name(model: str, operation: str) -> str:
    """Return the name of an operation of a model."""
    return f"{model}{SEPARATOR}{operation}"


def split_name(name: str) -> ModelName:
    """Return the parts of a name. An unknown operation is a part of the name of the model."""
    model, _, operation = name.rpartition(SEPARATOR)
    if operation in OPERATIONS:
        return ModelName(model, cast("Operation", operation))
    return ModelName(name, None)

"""Checks that stop a fit: a loss or weights that are not finite, a collapsed net, a folder with another run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from training.errors import Collapsed, Diverged, RunError

COLLAPSE_RATIO = 0.01
"""Outputs count as constant if their standard deviation over the items is below this fraction of the items' own."""
MAX_LISTED = 8
"""Maximum number of items, or of differences between recipes, in a message."""


def check_loss_finite(terms: Mapping[str, Tensor], norm: Tensor, step: int, rate: float, indices: Tensor) -> None:
    """Raise Diverged if the loss or the norm of its gradient is not finite.

    Args:
        terms: scalars; `loss` and its terms by name.
        norm: scalar; the norm of the gradient.
        step: the number of the step, counted from 0.
        rate: the learning rate of the step.
        indices: int64 (N,); the indices of the items in the batch.
    """
    if (terms["loss"] + norm).isfinite():
        return
    losses = ", ".join(f"{name} {term.item():g}" for name, term in terms.items())
    items = ", ".join(str(index) for index in indices[:MAX_LISTED].tolist())
    raise Diverged(
        f"step {step}: {losses}, gradient norm {norm.item():g}, at learning rate {rate:g}, on the training items "
        f"{items}, ...: lower optimizer.lr, set optimizer.grad_clip, or check these items"
    )


def check_weights_finite(weights: Iterable[Tensor], step: int) -> None:
    """Raise Diverged if a weight is not finite. Otherwise the loss would show it a step after the checkpoint."""
    if not all(weight.isfinite().all() for weight in weights):
        raise Diverged(f"step {step}: the weights are not finite: lower optimizer.lr or set optimizer.grad_clip")


def check_not_collapsed(outputs: Tensor, items: Tensor, step: int) -> None:
    """Raise Collapsed if the outputs (N, ...) are the same for all items (N, ...), though the items differ."""
    output_std, item_std = (values.std(0).mean().item() for values in (outputs, items))
    if output_std < COLLAPSE_RATIO * item_std:
        raise Collapsed(
            f"step {step}: the net returns the same output for every input (standard deviation {output_std:.2g}, of "
            f"the data {item_std:.2g}): lower optimizer.lr or the penalties, or use objective.loss = 'bce'"
        )


def check_same_run(folder: Path, stored: dict[str, Any], current: dict[str, Any], non_default: dict[str, Any]) -> None:
    """Raise RunError with the first differences between the run stored in `folder` and the current one.

    `non_default` contains the values of `current` that differ from their defaults. A key that is missing from the
    stored run was added in a later version; it is a difference only if its value is not the default.
    """
    old, new, chosen = _dotted_keys(stored), _dotted_keys(current), _dotted_keys(non_default)
    differences = [
        f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and (key in old or key in chosen)
    ]
    if differences:
        raise RunError(
            f"{folder} contains another run ({'; '.join(differences[:MAX_LISTED])}): use --fresh or another --run"
        )


def _dotted_keys(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one table with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _dotted_keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

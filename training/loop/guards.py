"""What stops a fit, with its cause: a loss that is no number, a collapsed net, a folder of another recipe."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from training.errors import Collapsed, Diverged, RunError

COLLAPSE_RATIO = 0.01
"""Outputs that vary between items by less than this share of what the items themselves do are called constant."""
MAX_LISTED = 8
"""How many of a batch's items a message names."""


def check_loss_finite(parts: Mapping[str, Tensor], norm: Tensor, step: int, rate: float, indices: Tensor) -> None:
    """Raises Diverged where the loss, or the norm of its gradient, is no finite number."""
    if (parts["loss"] + norm).isfinite():
        return
    figures = ", ".join(f"{name} {part.item():g}" for name, part in parts.items())
    items = ", ".join(str(index) for index in indices[:MAX_LISTED].tolist())
    raise Diverged(
        f"step {step}: {figures}, norm of the gradient {norm.item():g}, at learning rate {rate:g}, on the training "
        f"items {items}, ...: lower optimizer.lr, set optimizer.grad_clip, or look at these items"
    )


def check_weights_finite(weights: Iterable[Tensor], step: int) -> None:
    """Raises Diverged where a weight is no finite number: the loss would tell a step later, after a checkpoint."""
    if not all(weight.isfinite().all() for weight in weights):
        raise Diverged(f"step {step}: weights are no finite numbers: lower optimizer.lr, or set optimizer.grad_clip")


def check_not_collapsed(outputs: Tensor, items: Tensor, step: int) -> None:
    """Raises Collapsed where the outputs (N first) are the same for all items, though the items are not."""
    spread, wanted = (values.std(0).mean().item() for values in (outputs, items))
    if spread < COLLAPSE_RATIO * wanted:
        raise Collapsed(
            f"step {step}: the net answers every input alike (outputs vary by {spread:.2g}, the data by {wanted:.2g}): "
            "lower optimizer.lr or the penalties, or use objective.loss = 'bce'"
        )


def check_same_run(folder: Path, there: dict[str, Any], here: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Raises RunError naming the first differences between the run in the folder and the one that is asked for.

    `chosen`: those of `here` that are no defaults. A default that the run does not know came with a later version.
    """
    old, new, wanted = _flatten(there), _flatten(here), _flatten(chosen)
    differences = [
        f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and (key in old or key in wanted)
    ]
    if differences:
        raise RunError(
            f"{folder} holds another run ({'; '.join(differences[:MAX_LISTED])}): use --fresh or another --run"
        )


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

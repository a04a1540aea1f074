"""The parts of a recipe that is being chosen: values with their reasons."""

from dataclasses import dataclass, field
from typing import Any, Literal

from training.loop.plan import default_batch

Task = Literal["denoise", "compress", "embed", "anomaly", "generate"]

MIN_ITEMS = 10
"""Fewest items to learn a code from; a denoiser learns from two large photographs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of a key, and the reason for it, which is written beside it."""

    value: Any
    reason: str = ""


Table = dict[str, Choice]


@dataclass(frozen=True, slots=True)
class Draft:
    """The tables of a recipe before its length is known. `items` are the training items."""

    data: Table
    net: Table
    objective: Table
    optimizer: Table
    items: int
    corruption: Table = field(default_factory=dict)
    augmentation: Table = field(default_factory=dict)
    model: Table = field(default_factory=dict)


def variational_objective(weight: float) -> Table:
    """Return the `[objective]` table of a variational net whose KL divergence is weighted by `weight`."""
    return {
        "loss": Choice("mse"),
        "penalties": Choice({"kl_prior": weight}, "lower: sharper reconstructions; higher: better random draws"),
    }


def optimizer_table(
    lr: float,
    items: int,
    values: int,
    *,
    clip: bool = False,
    decay: float = 0.0,
    validation: bool = True,
    batch: int | None = None,
) -> Table:
    """Return the [optimizer] table without the number of epochs."""
    validates = validation and items >= MIN_ITEMS
    remaining = items - round(0.1 * items) if validates else items
    chosen = min(batch or 256, default_batch(remaining, values))
    optimizer = {
        "batch": Choice(chosen, f"{items} training items; at least 8 batches a pass, in little memory"),
        "lr": Choice(lr, "a common start for this family; lower it if the loss jumps"),
        "ema_decay": Choice(0.99, "publish an average of the last hundred steps"),
        "seed": Choice(1, "the same run again gives the same model"),
    }
    if clip:
        optimizer["grad_clip"] = Choice(1.0, "large gradients at the start would throw the net off")
    if decay:
        optimizer["weight_decay"] = Choice(decay, "against overfitting")
    if validates:
        optimizer["validation_fraction"] = Choice(0.1, "held out of the training items to choose the best weights by")
    return optimizer

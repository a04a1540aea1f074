"""Where a fit stands: everything that changes while it runs, to and from a checkpoint, bit for bit.

Knows no data and no loop.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from training.errors import RunError
from training.loop.checkpoint import Checkpoint
from training.loop.optimiser import optimiser
from training.nets import Autoencoder
from training.recipe import Recipe


@dataclass
class Course:
    """`averaged` and `best` are the net itself, and empty, where the recipe wants none of them."""

    net: Autoencoder
    averaged: Autoencoder
    optimiser: Optimizer
    generator: Generator
    best: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    best_loss: float | None = None
    stale: int = 0

    def served(self) -> Autoencoder:
        """The net that is published: the best one seen, or else the averaged one. A copy."""
        net = deepcopy(self.averaged).eval()
        if self.best:
            net.load_state_dict(self.best)
        return net.requires_grad_(False)

    def average(self, decay: float) -> None:
        """Moves the averaged weights towards the net's; early on faster, so that the random start is forgotten."""
        if self.averaged is self.net:
            return
        share = 1 - min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mine, theirs in zip(self.averaged.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(theirs, share)
            for mine, theirs in zip(self.averaged.buffers(), self.net.buffers(), strict=True):
                mine.copy_(theirs)

    def judge(self, loss: float) -> None:
        """Keeps the averaged weights where this validation loss is the best so far."""
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
        else:
            self.stale += 1

    def checkpoint(self, facts: dict[str, Any]) -> Checkpoint:
        """All of it; `facts` say what run it is of."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.averaged is not self.net:
            tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{slot}": tensor for slot, tensor in slots.items() if tensor is not None}
        tensors["generator"] = self.generator.get_state()
        state = {"seconds": self.seconds, "sums": self.sums, "best_loss": self.best_loss, "stale": self.stale}
        return Checkpoint(self.step, tensors, {**state, "facts": facts})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where the checkpoint was written. Raises RunError where it is of another net."""
        try:
            self.net.load_state_dict(checkpoint.part("net"))
            if self.averaged is not self.net:
                self.averaged.load_state_dict(checkpoint.part("averaged"))
        except RuntimeError as error:
            raise RunError(f"the checkpoint holds another net than the recipe makes: {error}") from error
        weights = list(self.net.parameters())
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.part("optimiser").items():
            number, slot = name.split(".")
            weight = weights[int(number)]
            # The fused optimiser walks memory: its tensors must lie as the weights do, channels last or not.
            laid = (
                torch.empty_like(weight, requires_grad=False).copy_(tensor) if tensor.shape == weight.shape else tensor
            )
            slots.setdefault(int(number), {})[slot] = laid
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        self.generator.set_state(checkpoint.tensors["generator"])
        self.best = checkpoint.part("best")
        self.step = checkpoint.step
        self.seconds, self.sums = checkpoint.state["seconds"], checkpoint.state["sums"]
        self.best_loss, self.stale = checkpoint.state["best_loss"], checkpoint.state["stale"]


def begin(recipe: Recipe, items: Tensor, weights: dict[str, Tensor] | None = None) -> Course:
    """A fresh course on these training items: weights drawn from the recipe's seed, or given.

    Raises RunError where given ones don't fit.
    """
    plan = recipe.optimisation
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator; we leave it as it was
        torch.manual_seed(plan.seed)
        net = recipe.net.build(tuple(items.shape[1:]))
    net.prepare(items)
    if weights is not None:
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"the weights given are of another net than the recipe makes: {error}") from error
    return Course(
        net=net,
        averaged=deepcopy(net).requires_grad_(False) if plan.ema else net,
        optimiser=optimiser(plan, net),
        generator=Generator().manual_seed(plan.seed),
    )

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
from training.loop.optimiser import build_optimizer
from training.nets import Autoencoder
from training.recipe import Recipe


@dataclass
class TrainingState:
    """`ema_net` and `best_weights` are the net itself, and empty, where the recipe wants none of them."""

    net: Autoencoder
    ema_net: Autoencoder
    optimizer: Optimizer
    generator: Generator
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    epoch_sums: dict[str, float] = field(default_factory=dict)
    best_loss: float | None = None
    epochs_without_improvement: int = 0

    def best_net(self) -> Autoencoder:
        """The net that is published: the best one seen, or else the averaged one. A copy."""
        net = deepcopy(self.ema_net).eval()
        if self.best_weights:
            net.load_state_dict(self.best_weights)
        return net.requires_grad_(False)

    def update_ema(self, decay: float) -> None:
        """Moves the averaged weights towards the net's; early on faster, so that the random start is forgotten."""
        if self.ema_net is self.net:
            return
        share = 1 - min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mine, theirs in zip(self.ema_net.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(theirs, share)
            for mine, theirs in zip(self.ema_net.buffers(), self.net.buffers(), strict=True):
                mine.copy_(theirs)

    def record_validation(self, loss: float) -> None:
        """Keeps the averaged weights where this validation loss is the best so far."""
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.epochs_without_improvement = loss, 0
            self.best_weights = {name: tensor.clone() for name, tensor in self.ema_net.state_dict().items()}
        else:
            self.epochs_without_improvement += 1

    def to_checkpoint(self, run_identity: dict[str, Any]) -> Checkpoint:
        """Return everything that changes while the run proceeds, and what identifies the run."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.ema_net is not self.net:
            tensors |= {f"ema_net.{name}": tensor for name, tensor in self.ema_net.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for number, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{slot}": tensor for slot, tensor in slots.items() if tensor is not None}
        tensors["generator"] = self.generator.get_state()
        state = {
            "seconds": self.seconds,
            "epoch_sums": self.epoch_sums,
            "best_loss": self.best_loss,
            "epochs_without_improvement": self.epochs_without_improvement,
        }
        return Checkpoint(self.step, tensors, {**state, "run_identity": run_identity})

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Goes back to where the checkpoint was written. Raises RunError where it is of another net."""
        try:
            self.net.load_state_dict(checkpoint.with_prefix("net"))
            if self.ema_net is not self.net:
                self.ema_net.load_state_dict(checkpoint.with_prefix("ema_net"))
        except RuntimeError as error:
            raise RunError(f"the checkpoint holds another net than the recipe makes: {error}") from error
        weights = list(self.net.parameters())
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.with_prefix("optimizer").items():
            number, slot = name.split(".")
            weight = weights[int(number)]
            # The fused optimiser walks memory: its tensors must lie as the weights do, channels last or not.
            laid = (
                torch.empty_like(weight, requires_grad=False).copy_(tensor) if tensor.shape == weight.shape else tensor
            )
            slots.setdefault(int(number), {})[slot] = laid
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.generator.set_state(checkpoint.tensors["generator"])
        self.best_weights = checkpoint.with_prefix("best")
        self.step = checkpoint.step
        self.seconds, self.epoch_sums = checkpoint.state["seconds"], checkpoint.state["epoch_sums"]
        self.best_loss, self.epochs_without_improvement = (
            checkpoint.state["best_loss"],
            checkpoint.state["epochs_without_improvement"],
        )


def initial_state(recipe: Recipe, items: Tensor, weights: dict[str, Tensor] | None = None) -> TrainingState:
    """A fresh course on these training items: weights drawn from the recipe's seed, or given.

    Raises RunError where given ones don't fit.
    """
    plan = recipe.optimizer
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator; we leave it as it was
        torch.manual_seed(plan.seed)
        net = recipe.net.build(tuple(items.shape[1:]))
    net.init_from_data(items)
    if weights is not None:
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"the weights given are of another net than the recipe makes: {error}") from error
    return TrainingState(
        net=net,
        ema_net=deepcopy(net).requires_grad_(False) if plan.ema_decay else net,
        optimizer=build_optimizer(plan, net),
        generator=Generator().manual_seed(plan.seed),
    )

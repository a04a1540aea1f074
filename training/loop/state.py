"""The state of a fit: everything that changes during training, and its conversion to and from checkpoints.

A restored state continues bit for bit as the saved one would have.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from training.errors import RunError
from training.loop.checkpoint import Checkpoint
from training.loop.device import CPU, Compute
from training.loop.optimizer import build_optimizer, trainable_parameters
from training.nets import Autoencoder
from training.recipe import Recipe


@dataclass
class TrainingState:
    """Weights, optimizer, random numbers and counters of a fit.

    Attributes:
        net: the net that is trained.
        ema_net: the moving average of its weights; `net` itself if the recipe has no `ema_decay`.
        optimizer: over the parameters of `net`.
        generator: the source of augmentation, noise and samples.
        best_weights: the state dict of the best validated `ema_net`; empty without validation.
        step: the steps done.
        seconds: the time of all steps.
        epoch_sums: sums of the loss terms over the steps of the current epoch, by name.
        best_loss: the lowest validation loss so far.
        epochs_without_improvement: validations since then.
    """

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
        """Return a copy of the net to publish: the best validated one, or else the averaged one; in eval mode."""
        net = deepcopy(self.ema_net).eval()
        if self.best_weights:
            net.load_state_dict(self.best_weights)
        return net.cpu().requires_grad_(False)

    def update_ema(self, decay: float) -> None:
        """Update the exponential moving average of the weights, with a `decay` in 0..1.

        Early in training the decay is (1 + step) / (10 + step), if that is less, so that the average forgets the
        initial weights: the rule of `num_updates` in TensorFlow's ExponentialMovingAverage. Buffers are copied.
        """
        if self.ema_net is self.net:
            return
        weight = 1 - min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, current in zip(self.ema_net.parameters(), self.net.parameters(), strict=True):
                average.lerp_(current, weight)
            for average, current in zip(self.ema_net.buffers(), self.net.buffers(), strict=True):
                average.copy_(current)

    def record_validation(self, loss: float) -> None:
        """Keep the averaged weights if this validation loss is the lowest so far."""
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.epochs_without_improvement = loss, 0
            self.best_weights = {name: tensor.clone() for name, tensor in self.ema_net.state_dict().items()}
        else:
            self.epochs_without_improvement += 1

    def to_checkpoint(self, run_identity: dict[str, Any], generator_state: Tensor | None = None) -> Checkpoint:
        """Return the state as a checkpoint, with the data that identifies the run.

        `generator_state` is the state of `generator` to store, if batches were prepared ahead.
        """
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.ema_net is not self.net:
            tensors |= {f"ema_net.{name}": tensor for name, tensor in self.ema_net.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for number, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{slot}": tensor for slot, tensor in slots.items() if tensor is not None}
        tensors["generator"] = self.generator.get_state() if generator_state is None else generator_state
        state = {
            "seconds": self.seconds,
            "epoch_sums": self.epoch_sums,
            "best_loss": self.best_loss,
            "epochs_without_improvement": self.epochs_without_improvement,
        }
        return Checkpoint(self.step, tensors, {**state, "run_identity": run_identity})

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint. Raises RunError if it was written for another net."""
        try:
            self.net.load_state_dict(checkpoint.with_prefix("net"))
            if self.ema_net is not self.net:
                self.ema_net.load_state_dict(checkpoint.with_prefix("ema_net"))
        except RuntimeError as error:
            raise RunError(f"the checkpoint was written for another net than the recipe's: {error}") from error
        weights = trainable_parameters(self.net)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.with_prefix("optimizer").items():
            number, slot = name.split(".")
            weight = weights[int(number)]
            if tensor.shape == weight.shape:
                # Fused optimizers need the memory format of the weight (channels last or not), which files don't keep.
                tensor = torch.empty_like(weight, requires_grad=False).copy_(tensor)
            slots.setdefault(int(number), {})[slot] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.generator.set_state(checkpoint.tensors["generator"])
        self.best_weights = checkpoint.with_prefix("best")
        self.step = checkpoint.step
        self.seconds, self.epoch_sums = checkpoint.state["seconds"], checkpoint.state["epoch_sums"]
        self.best_loss, self.epochs_without_improvement = (
            checkpoint.state["best_loss"],
            checkpoint.state["epochs_without_improvement"],
        )


def initial_state(
    recipe: Recipe, items: Tensor, weights: dict[str, Tensor] | None = None, compute: Compute = CPU
) -> TrainingState:
    """Return the state before the first step.

    Args:
        recipe: the experiment.
        items: the training items, uint8 (N, C, H, W) or float32 (N, F), from which some nets are initialized.
        weights: the initial state dict of the net; drawn from the recipe's seed if None.
        compute: the device that the net is moved to, once it is initialized.

    Raises:
        RecipeError: the net does not fit the shape of the items.
        RunError: `weights` do not fit the net.
    """
    config = recipe.optimizer
    with torch.random.fork_rng(devices=[]):  # torch's layers use the global generator: restore its state afterwards
        torch.manual_seed(config.seed)
        net = recipe.net.build(tuple(items.shape[1:]))
    net.init_from_data(items)
    if weights is not None:
        try:
            added = {name: tensor for name, tensor in net.state_dict().items() if name.split(".")[0] in net.added_parts}
            net.load_state_dict({**added, **weights})
        except RuntimeError as error:
            raise RunError(f"the weights of --init belong to another net than the recipe's: {error}") from error
    if config.train == "noise_control":
        net.freeze_body()
    compute.place(net, images=items.ndim == 4)
    return TrainingState(
        net=net,
        ema_net=deepcopy(net).requires_grad_(False) if config.ema_decay else net,
        optimizer=build_optimizer(config, net),
        generator=Generator().manual_seed(config.seed),
    )

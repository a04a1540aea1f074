"""The Muon optimizer: momentum SGD whose updates of weight matrices are orthogonalized.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the update scale of Liu et al.,
"Muon is scalable for LLM training" (2025), which makes learning rates comparable to Adam's. One-dimensional parameters
(biases) are updated by Adam. `torch.optim.Muon` accepts two-dimensional parameters only, no convolutions.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
BETAS, EPS = (0.9, 0.999), 1e-8
NS_STEPS = 5
NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration by Jordan et al.: five steps bring all singular values near 1."""


class Muon(Optimizer):
    """Muon for parameters of two or more dimensions, as matrices with a row per index of the first; Adam for others."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG002
        """Update every parameter that has a gradient; `closure` is not called."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                weight.mul_(1 - group["lr"] * group["weight_decay"])  # decoupled, as in AdamW
                update = (_muon_update if weight.ndim > 1 else _adam_update)(self.state[weight], weight.grad)
                weight.add_(update, alpha=-group["lr"])


def _muon_update(state: dict[str, Any], gradient: Tensor) -> Tensor:
    momentum = state.setdefault("momentum", torch.zeros_like(gradient))
    momentum.mul_(MOMENTUM).add_(gradient)
    nesterov = gradient.add(momentum, alpha=MOMENTUM).reshape(len(gradient), -1)
    # An orthogonal matrix has the RMS 1 / sqrt(max(shape)). Adam's updates have an RMS of about 0.2 (Liu et al.).
    return (newton_schulz(nesterov) * (0.2 * math.sqrt(max(nesterov.shape)))).reshape(gradient.shape)


def _adam_update(state: dict[str, Any], gradient: Tensor) -> Tensor:
    """Return Adam's update (Kingma and Ba 2015), bias correction included."""
    mean, square = (state.setdefault(name, torch.zeros_like(gradient)) for name in ("mean", "square"))
    count = state.setdefault("count", torch.zeros(()))
    count += 1
    mean.lerp_(gradient, 1 - BETAS[0])
    square.lerp_(gradient.square(), 1 - BETAS[1])
    root = (square / (1 - BETAS[1] ** count)).sqrt()
    return mean / (1 - BETAS[0] ** count) / (root + EPS)


def newton_schulz(matrix: Tensor) -> Tensor:
    """Return approximately the nearest (semi-)orthogonal matrix to a float32 (rows, columns) matrix.

    Each step applies the polynomial a s + b s^3 + c s^5 to every singular value s and keeps the singular vectors.
    """
    a, b, c = NS_COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)  # the iteration needs singular values of at most 1
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # so that the square below is the smaller one
    for _ in range(NS_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x

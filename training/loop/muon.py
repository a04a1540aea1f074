"""Muon: matrices of weights move along their gradient's momentum with all its directions made equally long.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the step length of Liu et al.,
"Muon is scalable for LLM training" (2025), by which a learning rate means what it does to Adam. What is no matrix, the
biases, takes Adam's step.
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
"""Of Newton and Schulz's iteration, as Jordan et al. tuned it: five rounds bring singular values near 1."""


class Muon(Optimizer):
    """Weights of two and more sides are matrices, N rows by all else."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG002
        """Moves every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                move = (_muon_update if weight.ndim > 1 else _adam_update)(self.state[weight], weight.grad)
                weight.add_(move, alpha=-group["lr"])


def _muon_update(state: dict[str, Any], gradient: Tensor) -> Tensor:
    momentum = state.setdefault("momentum", torch.zeros_like(gradient))
    momentum.mul_(MOMENTUM).add_(gradient)
    ahead = gradient.add(momentum, alpha=MOMENTUM).reshape(len(gradient), -1)
    return (newton_schulz(ahead) * (0.2 * math.sqrt(max(ahead.shape)))).reshape(gradient.shape)


def _adam_update(state: dict[str, Any], gradient: Tensor) -> Tensor:
    mean, square = (state.setdefault(name, torch.zeros_like(gradient)) for name in ("mean", "square"))
    count = state.setdefault("count", torch.zeros(()))
    count += 1
    mean.lerp_(gradient, 1 - BETAS[0])
    square.lerp_(gradient.square(), 1 - BETAS[1])
    root = (square / (1 - BETAS[1] ** count)).sqrt()
    return mean / (1 - BETAS[0] ** count) / (root + EPS)


def newton_schulz(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all 1, by Newton and Schulz's iteration."""
    first, second, third = NS_COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(NS_STEPS):
        square = x @ x.T
        x = first * x + (second * square + third * square @ square) @ x
    return x.T if tall else x

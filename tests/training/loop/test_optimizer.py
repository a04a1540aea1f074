"""Optimizers: the weight decay of each, where the loss has no gradient."""

import pytest
import torch

from training.loop.optimizer import build_optimizer
from training.recipe import OptimizerSection


@pytest.mark.parametrize(
    ("method", "left"),
    [("adamw", 4 * (1 - 0.1 * 0.5)), ("adam", 4 - 0.1), ("sgd", 4 - 0.1 * 0.5 * 4), ("muon", 4 * (1 - 0.1 * 0.5))],
)
def test_weight_decay_shrinks_weights_without_gradient(method: str, left: float) -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(net.weight, 4.0)
    plan = OptimizerSection.model_validate({"name": method, "epochs": 1, "lr": 0.1, "weight_decay": 0.5})
    net.weight.grad = torch.zeros_like(net.weight)
    build_optimizer(plan, net).step()
    assert net.weight.item() == pytest.approx(left, rel=1e-5)

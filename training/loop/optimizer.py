"""Builds the optimizer of a recipe and computes its learning rate schedule."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from training.loop.muon import Muon
from training.recipe import OptimizerSection


def build_optimizer(config: OptimizerSection, net: nn.Module) -> Optimizer:
    """Return the optimizer that `config` names, over the parameters of `net` that are trained."""
    weights = trainable_parameters(net)
    if config.name == "sgd":
        on_gpu = any(weight.device.type != "cpu" for weight in weights)
        return SGD(weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=on_gpu)
    if config.name == "muon":
        return Muon(weights, lr=config.lr, weight_decay=config.weight_decay)
    if config.name == "adam":
        return Adam(weights, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return AdamW(weights, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def trainable_parameters(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a net that are trained, in its order."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def learning_rate(config: OptimizerSection, step: int, total: int) -> float:
    """Return the learning rate of a step, counted from 0, of `total` steps. No `warmup` in `config` is none at all.

    Linear warm-up times cosine annealing from the peak to 0 (Loshchilov and Hutter 2017), without restarts.
    """
    warmup = min(1.0, (step + 1) / ((config.warmup or 0) + 1))
    return config.lr * warmup * 0.5 * (1 + math.cos(math.pi * step / total))


@contextmanager
def flush_denormals() -> Generator[None]:
    """Treat denormal floats as zero, in torch and the threads that it starts.

    The momentum of units that no longer learn decays into denormals, which are about a hundred times slower to compute
    with: after 1500 steps of Muon, a whole training step took three times as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)

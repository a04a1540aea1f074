"""What moves the weights, and how far at each step. Knows no data and no loss."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from training.loop.muon import Muon
from training.recipe import OptimizerSection


def build_optimizer(config: OptimizerSection, net: nn.Module) -> Optimizer:
    """The plan's method over the net's weights."""
    if config.name == "sgd":
        return SGD(net.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    if config.name == "muon":
        return Muon(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    if config.name == "adam":
        return Adam(net.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def learning_rate(config: OptimizerSection, step: int, total: int) -> float:
    """Of one step, counted from 0: linear up to the peak through the warm-up, times half a cosine down to 0."""
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / total))


@contextmanager
def flush_denormals() -> Generator[None]:
    """Numbers too small for float32's normal form count as zero meanwhile, in torch and what it starts.

    Units that no longer learn leave momentum that decays into such numbers, and a processor takes a hundred times as
    long over each: after 1500 steps of Muon the whole step took three times as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)

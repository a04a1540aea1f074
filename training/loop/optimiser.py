"""What moves the weights, and how far at each step. Knows no data and no loss."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from training.loop.muon import Muon
from training.recipe import Optimisation


def optimiser(plan: Optimisation, net: nn.Module) -> Optimizer:
    """The plan's method over the net's weights."""
    if plan.method == "sgd":
        return SGD(net.parameters(), lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay)
    if plan.method == "muon":
        return Muon(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    if plan.method == "adam":
        return Adam(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    return AdamW(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay, fused=True)


def learning_rate(plan: Optimisation, step: int, total: int) -> float:
    """Of one step, counted from 0: linear up to the peak through the warm-up, times half a cosine down to 0."""
    warm = min(1.0, (step + 1) / (plan.warmup + 1))
    return plan.lr * warm * 0.5 * (1 + math.cos(math.pi * step / total))


@contextmanager
def flushed() -> Generator[None]:
    """Numbers too small for float32's normal form count as zero meanwhile, in torch and what it starts.

    Units that no longer learn leave momentum that decays into such numbers, and a processor takes a hundred times as
    long over each: after 1500 steps of Muon the whole step took three times as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)

"""`make bench-training`: items per second of the training loop, beside a plain DataLoader loop with the same net.

It uses one core and generated pictures of the size of MNIST. Measurements are interleaved, so that changes of the
machine affect all alike; ratios are medians over the rounds.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from training.data import Dataset
from training.loop.batches import as_tensor, to_float
from training.loop.plan import MAX_BATCH
from training.loop.trainer import Trainer
from training.recipe import Recipe, read_recipe

ITEMS, ROUNDS, STEPS = 60_000, 5, 100
RECIPES = ("digits", "digits-deep", "digits-sparse", "digits-vae", "digits-denoise")
Timed = Callable[[], float]


def ours(recipe: str, data: Dataset, *changes: str) -> Timed:
    """Return items per second of the training loop: batches, corruption, step, average, guards."""
    loop = Trainer(read_recipe(recipe, changes), data, Path(tempfile.gettempdir()))
    loop.step()  # torch.compile runs here

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            loop.step()
        return STEPS * loop.batches.batch_size / (time.perf_counter() - start)

    return run


def plain(recipe: Recipe, items: Tensor) -> Timed:
    """Return items per second of a plain DataLoader loop without averaging, guards, corruption and penalties."""
    plan, batch = recipe.optimizer, recipe.optimizer.batch or MAX_BATCH
    net = recipe.net.build(tuple(items.shape[1:]))
    optimizer = AdamW(net.parameters(), lr=plan.lr)
    loader = DataLoader(TensorDataset(items), batch_size=batch, shuffle=True, drop_last=True)

    def run() -> float:
        start, batches = time.perf_counter(), iter(loader)
        for _ in range(STEPS):
            (clean,) = next(batches)
            loss = binary_cross_entropy_with_logits(net(clean), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return STEPS * batch / (time.perf_counter() - start)

    return run


def step_alone(recipe: Recipe, items: Tensor) -> Timed:
    """Return items per second of the training step alone, on one fixed batch: an upper bound."""
    plan = recipe.optimizer
    net, batch = recipe.net.build(tuple(items.shape[1:])), items[: plan.batch or MAX_BATCH]
    optimizer = AdamW(net.parameters(), lr=plan.lr, fused=True)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            loss = binary_cross_entropy_with_logits(net(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return STEPS * len(batch) / (time.perf_counter() - start)

    return run


def main() -> None:
    """Print one row per recipe: items per second, and each measurement relative to the plain loop."""
    torch.set_num_threads(1)
    pictures = np.random.default_rng(0).integers(0, 256, (ITEMS, 28, 28, 1), np.uint8)
    data, floats = Dataset("generated", "none", pictures, pictures[:1]), to_float(as_tensor(pictures))
    print(f"{'recipe':16}{'plain/s':>10}{'step alone':>12}{'ours':>8}{'bfloat16':>10}{'compile':>9}{'both':>7}")
    for name in RECIPES:
        recipe, exact, fast = read_recipe(name), "optimizer.precision=float32", "optimizer.precision=bfloat16"
        contenders = [
            plain(recipe, floats),
            step_alone(recipe, floats),
            ours(name, data, exact),
            ours(name, data, fast),
            ours(name, data, exact, "optimizer.compile=true"),
            ours(name, data, fast, "optimizer.compile=true"),
        ]
        rounds = [[run() for run in contenders] for _ in range(ROUNDS)]
        ratios = [median(row[place] / row[0] for row in rounds) for place in range(1, len(contenders))]
        speeds = "".join(f"{ratio:>{width}.2f}" for ratio, width in zip(ratios, (12, 8, 10, 9, 7), strict=True))
        print(f"{name:16}{median(row[0] for row in rounds):>10,.0f}{speeds}", flush=True)


if __name__ == "__main__":
    main()

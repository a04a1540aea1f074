"""Items a second of our training loop and of the plain DataLoader loop with the same net, in turns; and their ratio.

python benchmarks/training_loop.py; one core, generated pictures of MNIST's size, nothing else running.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from training.batches import as_float, as_tensor
from training.data import Data
from training.loop import Loop
from training.recipe import Recipe, read_recipe

ITEMS, ROUNDS = 60_000, 7


def ours(recipe: Recipe, data: Data) -> float:
    """Items a second of one epoch by our loop: batches, step, average, guards."""
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(recipe, data, Path(folder))
        start = time.perf_counter()
        for _ in range(loop.batches.per_epoch):
            loop.step()
        return loop.batches.per_epoch * loop.batches.size / (time.perf_counter() - start)


def plain(recipe: Recipe, items: Tensor) -> float:
    """Items a second of one epoch as tutorials write it, with the averaging and guards left out."""
    plan = recipe.optimisation
    net = recipe.net.build(tuple(items.shape[1:]))
    optimiser = AdamW(net.parameters(), lr=plan.lr)
    loader = DataLoader(TensorDataset(items), batch_size=plan.batch, shuffle=True, drop_last=True)
    start = time.perf_counter()
    for (clean,) in loader:
        loss = binary_cross_entropy_with_logits(net(clean), clean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return len(loader) * plan.batch / (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    pictures = np.random.default_rng(0).integers(0, 256, (ITEMS, 28, 28, 1), np.uint8)
    data, floats = Data("generated", "none", pictures, pictures[:1]), as_float(as_tensor(pictures))
    for name in ("digits", "digits-sparse"):
        recipe = read_recipe(name)
        pairs = [(ours(recipe, data), plain(recipe, floats)) for _ in range(ROUNDS)]
        mine, theirs = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(first / second for first, second in pairs)
        print(f"{name}: ours {mine:,.0f} items/s, DataLoader {theirs:,.0f} items/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()

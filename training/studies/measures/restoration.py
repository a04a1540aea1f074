"""Corruption and restoration of pictures as float tensors, since unclipped noise leaves the range 0..1.

Corrupted pictures within 0..1 are rounded to 8 bits, as in a picture sent to the service.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Generator, Tensor

from training.corruption import Corruption
from training.data import Items
from training.evaluation import baselines, metrics
from training.evaluation.metrics import MAX_BATCH_ITEMS, NOISE_SEED, GraphFunction
from training.nets import Autoencoder

Method = Callable[[Tensor], Tensor]
"""Function from corrupted to restored pictures, both float32 (N, C, H, W)."""
ROUNDS, RUNS, PAUSE_SECONDS = 15, 40, 1.0
"""Rounds of a timing, runs per round, and the pause before each round in seconds."""


def corrupt_pictures(kind: Mapping[str, Any], clean: Tensor, seed: int = NOISE_SEED) -> Tensor:
    """Corrupt pictures float32 (N, C, H, W) in 0..1.

    Args:
        kind: The corruption, as in the `[corruption]` table of a recipe.
        clean: The pictures.
        seed: Seed of the generator.

    Returns:
        The corrupted pictures, rounded to 8 bits unless a value is outside 0..1.
    """
    corruption: Any = TypeAdapter[Any](Corruption).validate_python(kind)
    generator = Generator().manual_seed(seed)
    noisy = torch.cat([corruption(chunk, generator) for chunk in clean.split(MAX_BATCH_ITEMS)])
    return noisy if noisy.min() < 0 or noisy.max() > 1 else noisy.mul(255).round_().div_(255)


@torch.no_grad()
def restore(net: Autoencoder, pictures: Tensor) -> Tensor:
    """Return the network's output for pictures float32 (N, C, H, W), not rounded."""
    return torch.cat([net.activate_output(net(chunk)) for chunk in pictures.split(MAX_BATCH_ITEMS)])


def classical(method: baselines.Method) -> Method:
    """Adapt a baseline for flat items to pictures (N, C, H, W). Its output is clipped to 0..1."""
    return lambda pictures: torch.from_numpy(method(pictures.flatten(1).numpy())).view(pictures.shape).clamp(0, 1)


def affine_map(kind: Mapping[str, Any], train: Tensor) -> Method:
    """Fit the affine map of least squared error (LMMSE) from corrupted to clean pictures `train` (N, C, H, W).

    `kind` is the corruption as in a recipe. The output of the map is clipped to 0..1.
    """
    noisy = corrupt_pictures(kind, train, NOISE_SEED + 1)
    return classical(baselines.lmmse(noisy.flatten(1).numpy(), train.flatten(1).numpy()))


def psnr(restored: Tensor, clean: Tensor) -> float:
    """Return the PSNR in dB of the mean squared error over all pixels of all pictures (N, C, H, W) in 0..1."""
    return metrics.psnr((restored - clean).square().mean(dtype=torch.float64).item())


def milliseconds(run: GraphFunction, batch: Items) -> dict[str, float]:
    """Measure the time of one picture in a batch in milliseconds.

    Each round takes the median of RUNS runs. Rounds are spread over time by pauses, since other processes may use the
    machine.

    Returns:
        Median, minimum and maximum (`own`, `least`, `most`) over the rounds by the CPU clock of the thread, and the
        median by the wall clock (`wall`).
    """
    rounds: list[NDArray[np.float64]] = []
    for _ in range(ROUNDS):
        time.sleep(PAUSE_SECONDS)
        rounds.append(np.median([_time_once(run, batch) for _ in range(RUNS)], axis=0))
    own, wall = 1e3 * np.array(rounds).T / len(batch)
    return {
        "own": float(np.median(own)),
        "least": float(own.min()),
        "most": float(own.max()),
        "wall": float(np.median(wall)),
    }


def _time_once(run: GraphFunction, batch: Items) -> tuple[float, float]:
    """Return the duration of one run in seconds, by the CPU clock of the thread and by the wall clock."""
    thread, start = time.thread_time(), time.perf_counter()
    run(batch)
    return time.thread_time() - thread, time.perf_counter() - start

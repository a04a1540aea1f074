"""Pictures corrupted and restored outside the service: in floats, because noise that is not cut leaves 0..1.

What can be stored as a picture is rounded to 8 bits, as the service would be given it. Knows no study.
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
from training.evaluation import baselines
from training.evaluation.figures import MAX_BATCH_ITEMS, NOISE_SEED, GraphFunction
from training.nets import Autoencoder

Method = Callable[[Tensor], Tensor]
"""From corrupted to restored, both N,C,H,W."""
MSE_FLOOR = 1e-12
"""The smallest mean squared error that is told apart from none: 120 dB."""
ROUNDS, RUNS, PAUSE_SECONDS = 15, 40, 1.0
"""Of the stopwatch."""


def corrupt_pictures(kind: Mapping[str, Any], clean: Tensor, seed: int = NOISE_SEED) -> Tensor:
    """The pictures under the corruption that a recipe's table says; in 8 bits, unless it leads out of 0..1."""
    corruption: Any = TypeAdapter[Any](Corruption).validate_python(kind)
    generator = Generator().manual_seed(seed)
    made = torch.cat([corruption(chunk, generator) for chunk in clean.split(MAX_BATCH_ITEMS)])
    return made if made.min() < 0 or made.max() > 1 else made.mul(255).round_().div_(255)


@torch.no_grad()
def restore(net: Autoencoder, pictures: Tensor) -> Tensor:
    """What the net makes of pictures, not rounded."""
    return torch.cat([net.activate_output(net(chunk)) for chunk in pictures.split(MAX_BATCH_ITEMS)])


def classical(method: baselines.Method) -> Method:
    """A method for flat items, for pictures, its answers cut to 0..1."""
    return lambda pictures: torch.from_numpy(method(pictures.flatten(1).numpy())).view(pictures.shape).clamp(0, 1)


def affine_map(kind: Mapping[str, Any], train: Tensor) -> Method:
    """The affine map of least squared error back from a corruption, its answers cut to 0..1."""
    noisy = corrupt_pictures(kind, train, NOISE_SEED + 1)
    return classical(baselines.lmmse(noisy.flatten(1).numpy(), train.flatten(1).numpy()))


def psnr(made: Tensor, clean: Tensor) -> float:
    """In dB, of the mean squared error over all pixels of all pictures."""
    error = (made - clean).square().mean(dtype=torch.float64).item()
    return -10 * float(np.log10(max(error, MSE_FLOOR)))


def milliseconds(run: GraphFunction, batch: Items) -> dict[str, float]:
    """One picture's time in a batch: of the medians of all rounds the median, least and most.

    By this thread's own clock, which rests while others have the core; `wall` by the wall's. A pause between rounds
    keeps them from sharing one moment of a busy machine.
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
    """Seconds by the thread's clock and by the wall's."""
    thread, start = time.thread_time(), time.perf_counter()
    run(batch)
    return time.thread_time() - thread, time.perf_counter() - start

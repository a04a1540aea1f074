"""Pictures corrupted and restored outside the service: in floats, because noise that is not cut leaves 0..1.

What can be stored as a picture is rounded to 8 bits, as the service would be given it. Knows no study.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from training import baselines
from training.corruption import Corruption
from training.data import Items
from training.evaluate import CHUNK, NOISE_SEED, Run
from training.nets import Autoencoder

Method = Callable[[Tensor], Tensor]
"""From corrupted to restored, both N,C,H,W."""
EXACT = 1e-12
"""The smallest mean squared error that is told apart from none: 120 dB."""


def given(kind: Mapping[str, Any], clean: Tensor, seed: int = NOISE_SEED) -> Tensor:
    """The pictures under the corruption that a recipe's table says; in 8 bits, unless it leads out of 0..1."""
    corruption: Any = TypeAdapter[Any](Corruption).validate_python(kind)
    generator = Generator().manual_seed(seed)
    made = torch.cat([corruption(chunk, generator) for chunk in clean.split(CHUNK)])
    return made if made.min() < 0 or made.max() > 1 else made.mul(255).round_().div_(255)


@torch.no_grad()
def answers(net: Autoencoder, pictures: Tensor) -> Tensor:
    """What the net makes of pictures, not rounded."""
    return torch.cat([net.finish(net(chunk)) for chunk in pictures.split(CHUNK)])


def classical(method: baselines.Method) -> Method:
    """A method for flat items, for pictures, its answers cut to 0..1."""
    return lambda pictures: torch.from_numpy(method(pictures.flatten(1).numpy())).view(pictures.shape).clamp(0, 1)


def affine_map(kind: Mapping[str, Any], train: Tensor) -> Method:
    """The affine map of least squared error back from a corruption, its answers cut to 0..1."""
    noisy = given(kind, train, NOISE_SEED + 1)
    return classical(baselines.lmmse(noisy.flatten(1).numpy(), train.flatten(1).numpy()))


def psnr(made: Tensor, clean: Tensor) -> float:
    """In dB, of the mean squared error over all pixels of all pictures."""
    error = (made - clean).square().mean(dtype=torch.float64).item()
    return -10 * float(np.log10(max(error, EXACT)))


def milliseconds(run: Run, batch: Items, rounds: int) -> dict[str, float]:
    """Median time of one picture in a batch: by this thread's own clock, which rests while others have the core, and
    by the wall's.
    """
    own: list[float] = []
    wall: list[float] = []
    for _ in range(rounds):
        thread, start = time.thread_time(), time.perf_counter()
        run(batch)
        own.append(time.thread_time() - thread)
        wall.append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(some)) / len(batch) for name, some in (("own", own), ("wall", wall))}

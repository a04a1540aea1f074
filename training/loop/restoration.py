"""How well a net denoises while it is trained, to choose the weights by: PSNR on real pairs and on each kind of noise.

The loss on held-out items goes on falling while real noise is removed less well, so real pairs have a third of the
vote. Knows no loss.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from training.corruption import EVALUATION_SIGMAS, evaluation_levels
from training.data import Dataset
from training.data.photos import PhotosSection
from training.errors import DataError
from training.imaging.compression import to_bytes
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.recipe import Recipe

PAIRS = "pairs"
GAUSSIAN = frozenset(str(level) for level in EVALUATION_SIGMAS)
CHUNK = 4
"""Pictures that are denoised at once."""


@dataclass(frozen=True, slots=True)
class NoisySet:
    """Pictures under one kind of noise: uint8 N,C,H,W both."""

    noisy: Tensor
    clean: Tensor


def noisy_sets(recipe: Recipe, data: Dataset, pictures: int) -> dict[str, NoisySet]:
    """The real pairs, and so many test pictures, spread evenly, under each kind of noise that the recipe trains with.

    The noise is the same in every run. Raises DataError where the items are no pictures.
    """
    if data.test.ndim != 4:
        raise DataError("[validation] is for pictures, and these are vectors: leave the table out")
    if isinstance(recipe.data, PhotosSection) and recipe.data.pairs and data.pairs is None:
        raise DataError(f"there is no folder {recipe.data.pairs.path} to validate with: get it, or remove [data.pairs]")
    spread = np.linspace(0, len(data.test) - 1, min(pictures, len(data.test))).round().astype(int)
    clean = as_tensor(data.test[spread])
    sets: dict[str, NoisySet] = {}
    if data.pairs is not None:
        sets[PAIRS] = NoisySet(as_tensor(data.pairs.noisy), as_tensor(data.pairs.clean))
    for name, corruption in evaluation_levels(recipe.corruption).items():
        noisy = corruption(to_float(clean), Generator().manual_seed(recipe.optimizer.seed))
        sets[name.removeprefix("_") or corruption.kind] = NoisySet(to_bytes(noisy), clean)
    return sets


@torch.no_grad()
def measure_psnr(net: Autoencoder, sets: dict[str, NoisySet]) -> dict[str, float]:
    """PSNR in dB of the 8-bit output, averaged over the pictures of each set."""
    training = net.training
    net.eval()
    figures = {name: float(_psnr(net, pictures).mean()) for name, pictures in sets.items()}
    net.train(training)
    return figures


def mean_of_groups(figures: dict[str, float]) -> float:
    """The mean of up to three means in dB: of the real pairs, of the levels of Gaussian noise, of all other kinds."""
    groups: dict[str, list[float]] = {}
    for name, figure in figures.items():
        group = PAIRS if name == PAIRS else "gaussian" if name in GAUSSIAN else "other"
        groups.setdefault(group, []).append(figure)
    return float(np.mean([np.mean(group) for group in groups.values()]))


def _psnr(net: Autoencoder, pictures: NoisySet) -> Tensor:
    """Of each picture: N."""
    errors = [
        (to_bytes(net.activate_output(net(to_float(noisy)))).float() - clean).square().flatten(1).mean(1)
        for noisy, clean in zip(pictures.noisy.split(CHUNK), pictures.clean.split(CHUNK), strict=True)
    ]
    return -10 * (torch.cat(errors) / 255**2).clamp(min=1e-12).log10()

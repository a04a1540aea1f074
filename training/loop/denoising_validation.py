"""Validation by denoising: PSNR on real pairs and on each kind of noise, to choose the weights to publish.

The loss on held-out items keeps falling while the net gets worse at real noise. Therefore real pairs make up a third
of the mean.
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
"""Images in a batch."""


@dataclass(frozen=True, slots=True)
class NoisySet:
    """Images with one kind of noise, and the same images without: both uint8 (N, C, H, W)."""

    noisy: Tensor
    clean: Tensor


def noisy_sets(recipe: Recipe, data: Dataset, pictures: int) -> dict[str, NoisySet]:
    """Return the real pairs, and test images with each kind of noise that the recipe trains with, by name.

    The images are evenly spaced in the test set, at most `pictures` of them. The noise is the same in every run.
    Raises DataError if the items are not images, or the folder of the pairs does not exist.
    """
    if data.test.ndim != 4:
        raise DataError("[validation] needs images, but the data has vectors: remove the table")
    if isinstance(recipe.data, PhotosSection) and recipe.data.pairs and data.pairs is None:
        raise DataError(
            f"the folder {recipe.data.pairs.path} of validation pairs does not exist: download it or remove "
            "[data.pairs]"
        )
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
    """Return the mean PSNR in dB of the 8-bit output over the images of each set, by its name."""
    training = net.training
    net.eval()
    psnrs = {name: float(_psnr(net, pictures).mean()) for name, pictures in sets.items()}
    net.train(training)
    return psnrs


def mean_of_groups(psnrs: dict[str, float]) -> float:
    """Return the mean of up to three mean PSNRs in dB: real pairs, levels of Gaussian noise, and all other kinds."""
    groups: dict[str, list[float]] = {}
    for name, psnr in psnrs.items():
        group = PAIRS if name == PAIRS else "gaussian" if name in GAUSSIAN else "other"
        groups.setdefault(group, []).append(psnr)
    return float(np.mean([np.mean(group) for group in groups.values()]))


def _psnr(net: Autoencoder, pictures: NoisySet) -> Tensor:
    """Return the PSNR in dB of each image, float32 (N,)."""
    device = next(net.parameters()).device
    errors: list[Tensor] = []
    for noisy, clean in zip(pictures.noisy.split(CHUNK), pictures.clean.split(CHUNK), strict=True):
        output = to_bytes(net.activate_output(net(to_float(noisy).to(device))))
        errors.append((output.float() - clean.to(device)).square().flatten(1).mean(1).cpu())
    return -10 * (torch.cat(errors) / 255**2).clamp(min=1e-12).log10()

"""Cuts whitened patches from photographs, from which sparse codes learn filters.

In natural pictures, low frequencies dominate: the amplitude is about 1 / frequency. Whitening makes the spectrum flat,
so that a code of limited size represents edges (Olshausen and Field, Nature 381, 1996).
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from service.codec import fit_to_size
from training.data.dataset import DataSection, Dataset, Pixels, TestFraction, hold_out, locate
from training.data.folder import find_pictures, read_pictures
from training.errors import DataError
from training.schema import NOT_STATED, Fraction

CUT_OFF = 0.65
"""Frequencies above this fraction of the highest are damped: they are mostly noise and JPEG artefacts."""
CONTRAST_FLOOR = 0.1
"""Variance, as a fraction of the mean variance, below which the contrast of a patch is hardly raised: it is noise."""


class PatchesSection(DataSection):
    """Patches of `side` x `side` pixels from a folder of pictures: grey, whitened, of equal contrast, as vectors."""

    source: Literal["patches"]
    path: str
    """Path of the folder, relative to the data folder (`--data`) or else to the current folder."""
    side: PositiveInt = 10
    """Side of a patch in pixels; a vector has side * side values."""
    count: PositiveInt = 100_000
    """Number of patches, the same from every picture."""
    width: PositiveInt = 512
    """Width in pixels to which larger pictures are first reduced, so that a patch shows more than a smooth area."""
    licence: str = NOT_STATED
    """Licence of the pictures."""
    seed: NonNegativeInt = 0
    """Seed of the positions of the patches."""
    max_broken_fraction: Fraction = 0.01
    """Fraction of the pictures that may be unreadable; these are skipped with a warning."""
    test_fraction: TestFraction = 0.1
    """Fraction of the patches that is held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
        """Cut the patches. Raises DataError if there are no pictures, or they are too small or unreadable."""
        root = locate(folder, self.path)
        greys = [
            _resize_grayscale(pixels, self.width)
            for pixels in read_pictures(find_pictures(root), self.max_broken_fraction)
        ]
        large = [grey for grey in greys if min(grey.shape) > 2 * self.side]
        if not large:
            raise DataError(f"the pictures in {root} are too small for patches of {self.side} pixels")
        random = np.random.default_rng(self.seed)
        count = -(-self.count // len(large))
        patches = np.concatenate([_random_patches(whiten(grey), self.side, count, random) for grey in large])
        return Dataset(root.name, self.licence, *hold_out(_normalize_contrast(patches), self.test_fraction))


def whiten(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whiten a picture (H, W): multiply its amplitudes by f * exp(-(f / f0)^4), and scale it to a variance of 1."""
    rows, columns = np.fft.fftfreq(grey.shape[0])[:, np.newaxis], np.fft.rfftfreq(grey.shape[1])
    frequency = np.hypot(rows, columns)
    response = frequency * np.exp(-((frequency / (0.5 * CUT_OFF)) ** 4))
    white = np.fft.irfft2(np.fft.rfft2(grey) * response, grey.shape).astype(np.float32)
    return white / max(float(white.std()), 1e-12)


def _resize_grayscale(pixels: Pixels, width: int) -> NDArray[np.float32]:
    """Return a picture (H, W, C) in grey, float32 (H, W) in 0..1, reduced to at most `width` pixels per row."""
    height, full_width, _ = pixels.shape
    scale = min(1.0, width / full_width)
    small = fit_to_size(pixels, max(1, round(height * scale)), max(1, round(full_width * scale)), 1)
    return small[:, :, 0].astype(np.float32) / np.float32(255)


def _random_patches(
    picture: NDArray[np.float32], side: int, count: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Cut `count` patches, (count, side * side), at random positions except the rim, where whitening wraps around."""
    windows = np.lib.stride_tricks.sliding_window_view(
        picture[side // 2 : -side // 2, side // 2 : -side // 2], (side, side)
    )
    rows = random.integers(0, windows.shape[0], count)
    columns = random.integers(0, windows.shape[1], count)
    return windows[rows, columns].reshape(count, side * side)


def _normalize_contrast(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the mean of each patch, give all patches about the same contrast, and scale all to a variance of 1.

    Patches differ most in contrast, so without this step a few patches would dominate the loss.
    """
    centered = patches - patches.mean(1, keepdims=True)
    variance = np.square(centered).mean(1, keepdims=True)
    normalized = centered / np.sqrt(variance + CONTRAST_FLOOR * variance.mean())
    return normalized / max(float(normalized.std()), 1e-12)

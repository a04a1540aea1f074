"""Small squares cut from photographs, whitened: what filters are learnt from.

Natural pictures have most of their power in slow changes (about 1 / frequency in amplitude). Whitening evens that out,
so that a code of limited size has to spend itself on edges; after Olshausen and Field, Nature 381 (1996).
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
"""Frequencies above this share of the highest are damped: there, photographs hold noise and traces of their JPEG."""
CONTRAST_FLOOR = 0.1
"""Variance, as a share of the mean patch's, below which a patch is left faint: it would be noise made loud."""


class PatchesSection(DataSection):
    """Squares of `side` x `side` pixels from a folder of pictures: grey, whitened, of one contrast, as vectors."""

    source: Literal["patches"]
    path: str
    """Relative to the data folder given, or else to where the command runs."""
    side: PositiveInt = 10
    """Pixels along a patch's side; a vector has side * side numbers."""
    count: PositiveInt = 100_000
    """Patches in all, as many from every picture."""
    width: PositiveInt = 512
    """Pictures are first reduced to this width, so that a patch holds something."""
    licence: str = NOT_STATED
    """Of the pictures."""
    seed: NonNegativeInt = 0
    """Of the places."""
    max_broken_fraction: Fraction = 0.01
    """Share of pictures that may be unreadable; each is named and skipped."""
    test_fraction: TestFraction = 0.1
    """Share held out as the test set."""

    def read(self, folder: Path | None) -> Dataset:
        root = locate(folder, self.path)
        greys = [
            _resize_grayscale(pixels, self.width)
            for pixels in read_pictures(find_pictures(root), self.max_broken_fraction)
        ]
        large = [grey for grey in greys if min(grey.shape) > 2 * self.side]
        if not large:
            raise DataError(f"the pictures in {root} are too small to cut patches of {self.side} from")
        random = np.random.default_rng(self.seed)
        each = -(-self.count // len(large))
        cut = np.concatenate([_random_patches(whiten(grey), self.side, each, random) for grey in large])
        return Dataset(root.name, self.licence, *hold_out(_normalize_contrast(cut), self.test_fraction))


def whiten(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture H,W with its spectrum evened out: amplitudes times f * exp(-(f / f0)^4), and a variance of 1."""
    rows, columns = np.fft.fftfreq(grey.shape[0])[:, np.newaxis], np.fft.rfftfreq(grey.shape[1])
    frequency = np.hypot(rows, columns)
    response = frequency * np.exp(-((frequency / (0.5 * CUT_OFF)) ** 4))
    white = np.fft.irfft2(np.fft.rfft2(grey) * response, grey.shape).astype(np.float32)
    return white / max(float(white.std()), 1e-12)


def _resize_grayscale(pixels: Pixels, width: int) -> NDArray[np.float32]:
    """H,W,C as H,W of that width; never enlarged."""
    height, own, _ = pixels.shape
    scale = min(1.0, width / own)
    small = fit_to_size(pixels, max(1, round(height * scale)), max(1, round(own * scale)), 1)
    return small[:, :, 0].astype(np.float32) / np.float32(255)


def _random_patches(
    picture: NDArray[np.float32], side: int, count: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """`count` patches (count, side * side) from anywhere but the rim, where whitening wraps around."""
    windows = np.lib.stride_tricks.sliding_window_view(
        picture[side // 2 : -side // 2, side // 2 : -side // 2], (side, side)
    )
    rows = random.integers(0, windows.shape[0], count)
    columns = random.integers(0, windows.shape[1], count)
    return windows[rows, columns].reshape(count, side * side)


def _normalize_contrast(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each without its mean, and of about the same contrast; all numbers together have a variance of 1.

    Contrast is what patches differ in most: without this a few strong ones would decide what is learnt.
    """
    level = patches - patches.mean(1, keepdims=True)
    variance = np.square(level).mean(1, keepdims=True)
    even = level / np.sqrt(variance + CONTRAST_FLOOR * variance.mean())
    return even / max(float(even.std()), 1e-12)

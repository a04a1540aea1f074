"""Methods without a net that are fitted to the same images: PCA, and the distance to the nearest patch."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.data import Pixels
from training.evaluation.metrics import flatten, to_uint8
from training.studies.measures.error_maps import Floats

PATCH, STEP = 8, 2
"""Side of a patch, and the distance of the patches of a tested image, in pixels."""
BANK = 10_000
"""Number of patches of training images that a patch is compared with."""
CHUNK = 2000
"""Number of patches compared at a time."""


class Pca:
    """Principal components of images, by a singular value decomposition, which is fast for few images of many pixels.

    Args:
        train: grey images uint8 (N, H, W, 1).
    """

    def __init__(self, train: Pixels) -> None:
        values = flatten(train)
        self.mean = values.mean(0)
        self.directions = np.linalg.svd(values - self.mean, full_matrices=False)[2]

    def reconstruct(self, items: Pixels, components: int) -> Pixels:
        """Return images uint8 (N, H, W, 1) by so many components, rounded to 8 bits as those of nets."""
        first = self.directions[:components]
        values = (flatten(items) - self.mean) @ first.T @ first + self.mean
        return to_uint8(values.reshape(items.shape))


class NearestPatch:
    """The distance of each patch of an image to the most similar one of the training images.

    This is the idea of PatchCore (Roth et al., CVPR 2022) with grey values instead of the features of a trained
    network.

    Args:
        train: grey images uint8 (N, H, W, 1); BANK of their patches are drawn.
    """

    def __init__(self, train: Pixels, seed: int) -> None:
        every = patches(train, 1).reshape(-1, PATCH**2)
        self.bank = every[np.random.default_rng(seed).choice(len(every), min(BANK, len(every)), replace=False)]
        self.norms = np.square(self.bank).sum(1)

    def maps(self, items: Pixels) -> Floats:
        """Return the mean distance of the patches over each pixel: (N, H, W), root mean squares on the 0..1 scale."""
        grid = patches(items, STEP)
        distances = self._distances(grid.reshape(-1, PATCH**2)).reshape(grid.shape[:3])
        sums, counts = np.zeros(items.shape[:3]), np.zeros(items.shape[1:3])
        for row in range(grid.shape[1]):
            for column in range(grid.shape[2]):
                window = np.s_[STEP * row : STEP * row + PATCH, STEP * column : STEP * column + PATCH]
                sums[:, *window] += distances[:, row, column, np.newaxis, np.newaxis]
                counts[window] += 1
        return sums / np.maximum(counts, 1)

    def _distances(self, queries: NDArray[np.float32]) -> Floats:
        squares = [
            (np.square(part).sum(1, keepdims=True) - 2 * part @ self.bank.T + self.norms).min(1)
            for part in np.split(queries, range(CHUNK, len(queries), CHUNK))
        ]
        return np.sqrt(np.maximum(np.concatenate(squares), 0) / PATCH**2)


def patches(items: Pixels, step: int) -> NDArray[np.float32]:
    """Return the patches of grey images uint8 (N, H, W, 1) at every `step` pixels: (N, rows, columns, PATCH, PATCH)."""
    windows = sliding_window_view(items[..., 0], (PATCH, PATCH), (1, 2))[:, ::step, ::step]
    return windows.astype(np.float32) / np.float32(255)

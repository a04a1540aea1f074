"""Training items in memory or a mapped file, served by indexing: no workers, no copies but the batch itself.

The order is a function of seed and epoch, so that a position in the data is one number: the step.
"""

import numpy as np
import torch
from torch import Generator, Tensor

from training.data import Items
from training.errors import DataError
from training.nets import Shape


def as_tensor(items: Items) -> Tensor:
    """Pictures N,H,W,C as uint8 N,C,H,W; vectors as they are."""
    moved = np.moveaxis(items, 3, 1) if items.ndim == 4 else items
    if isinstance(items, np.memmap):
        return torch.from_numpy(moved)  # read from the file as it is asked for
    return torch.from_numpy(np.array(moved, order="C"))  # a copy: what comes from a file may be read-only


def to_float(items: Tensor) -> Tensor:
    """What nets take: float32, pictures in 0..1."""
    return items.to(torch.float32).div_(255) if items.dtype == torch.uint8 else items


class Batches:
    """All items, and which of them each step sees; the last, smaller batch of an epoch is left out."""

    def __init__(self, items: Items, batch_size: int, seed: int) -> None:
        self.items = as_tensor(items)
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = len(items) // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        if not self.steps_per_epoch:
            raise DataError(f"{len(items)} items do not fill one batch: set optimizer.batch below {batch_size}")

    @property
    def shape(self) -> Shape:
        """Of one item: (C, H, W) or (F,)."""
        return tuple(self.items.shape[1:])

    def indices(self, step: int) -> Tensor:
        """Which items the step sees, counted from 0: int64, `size` of them."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.items), generator=generator)
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def get(self, indices: Tensor) -> Tensor:
        """These items, as nets take them."""
        return to_float(self.items.index_select(0, indices))

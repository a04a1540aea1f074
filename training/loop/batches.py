"""Batches of training items, by indexing an array in memory or a memory-mapped file, without worker processes.

The order of the items is a function of seed and epoch, so that the step alone says where a fit is in the data.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from training.data import Items
from training.errors import DataError
from training.nets import Shape


def as_tensor(items: Items) -> Tensor:
    """Convert images uint8 (N, H, W, C) to uint8 (N, C, H, W), and vectors float32 (N, F) to a tensor.

    A memory-mapped array stays in its file, other arrays are copied.
    """
    channels_first = np.moveaxis(items, 3, 1) if items.ndim == 4 else items
    if isinstance(items, np.memmap):
        return torch.from_numpy(channels_first)
    return torch.from_numpy(np.array(channels_first, order="C"))  # a copy, as torch rejects read-only arrays


def to_float(items: Tensor) -> Tensor:
    """Convert items to the input of a net: uint8 to float32 in 0..1, any other dtype unchanged."""
    return items.to(torch.float32).div_(255) if items.dtype == torch.uint8 else items


class Batches:
    """The items of a training set and the batch of each step. The last, smaller batch of an epoch is skipped."""

    def __init__(self, items: Items, batch_size: int, seed: int, subset: NDArray[np.int64] | None = None) -> None:
        """Take images uint8 (N, H, W, C) or vectors float32 (N, F), of which only those at `subset` are used, if given.

        Raises DataError if there are fewer than `batch_size`.
        """
        self.items = as_tensor(items)
        self.subset = torch.arange(len(items)) if subset is None else torch.from_numpy(subset)
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = len(self.subset) // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        if not self.steps_per_epoch:
            raise DataError(f"{len(self.subset)} items do not fill a batch: set optimizer.batch below {batch_size}")

    @property
    def shape(self) -> Shape:
        """The shape of one item: (C, H, W) or (F,)."""
        return tuple(self.items.shape[1:])

    def indices(self, step: int) -> Tensor:
        """Return the indices of the items in the batch of `step`, both counted from 0: int64 (batch_size,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, self.subset[torch.randperm(len(self.subset), generator=generator)]
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def get(self, indices: Tensor) -> Tensor:
        """Return items by index as float32 (N, C, H, W) in 0..1, or (N, F)."""
        return to_float(self.items.index_select(0, indices))

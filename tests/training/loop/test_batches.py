"""Batches: every item once per epoch, in an order that depends on the step number only."""

import numpy as np
import pytest
import torch

from tests.support.training import pictures, vectors
from training.errors import DataError
from training.loop.batches import Batches, as_tensor, to_float


def test_epoch_has_no_item_twice() -> None:
    batches = Batches(pictures(23), 5, seed=0)
    assert batches.steps_per_epoch == 4
    for epoch in range(3):
        seen = torch.cat([batches.indices(4 * epoch + step) for step in range(4)]).tolist()
        assert len(set(seen)) == 20
        assert set(seen) <= set(range(23))


def test_batch_order_depends_on_seed_and_step_only() -> None:
    straight, jumping = Batches(pictures(20), 5, seed=1), Batches(pictures(20), 5, seed=1)
    order = [straight.indices(step) for step in range(12)]
    for step in (7, 2, 11, 0, 7):
        assert torch.equal(jumping.indices(step), order[step])
    assert not torch.equal(torch.cat(order[:4]), torch.cat(order[4:8]))
    assert not torch.equal(Batches(pictures(20), 5, seed=2).indices(0), order[0])


def test_pictures_become_floats_with_channels_first() -> None:
    items = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    taken = Batches(items, 2, seed=0).get(torch.tensor([3, 1]))
    assert taken.dtype == torch.float32
    np.testing.assert_array_equal(taken.numpy(), np.moveaxis(items[[3, 1]], 3, 1) / np.float32(255))


def test_vectors_are_not_scaled() -> None:
    items = vectors(7)
    assert np.array_equal(to_float(as_tensor(items)).numpy(), items)


def test_too_few_items_for_one_batch_are_rejected() -> None:
    with pytest.raises(DataError, match=r"set optimizer.batch"):
        Batches(pictures(3), 4, seed=0)

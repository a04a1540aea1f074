"""Patches that are painted on images."""

import pytest
import torch
from torch import Generator, Tensor

from training.corruption.blemishes import Blemishes
from training.errors import RecipeError


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def greys(count: int) -> Tensor:
    """Return colour images of one grey each, which differ: float32 N,3,32,32."""
    return torch.linspace(0.2, 0.8, count).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).clone()


def share(blemishes: Blemishes, clean: Tensor) -> Tensor:
    """Return the share of each image that is changed: N."""
    return (blemishes(clean, seeded()) != clean).any(1).float().mean((1, 2))


def test_some_images_stay_as_they_are_and_most_of_others_too() -> None:
    changed = share(Blemishes(), greys(400))
    assert 0.05 < float((changed == 0).float().mean()) < 0.4  # 0.125 have no patch; some lie at the border
    assert 0 < float(changed.max()) < 0.7
    assert float(changed.mean()) < 0.15


def test_patches_can_be_left_out_or_put_on_every_image() -> None:
    assert float(share(Blemishes(presence=0), greys(20)).max()) == 0
    assert float((share(Blemishes(presence=1, patches=4, size=(0.1, 0.2)), greys(100)) > 0).float().mean()) > 0.98


def test_size_is_the_radius_of_a_round_patch() -> None:
    clean = torch.zeros(200, 1, 64, 64)
    blemishes = Blemishes(patches=1, presence=1, size=(0.1, 0.1), stretch=(1, 1), opacity=(1, 1))
    area = (blemishes(clean, seeded()) > 0).float().sum((1, 2, 3))  # parts of other images are black, too
    assert float(area[area > 0].median()) == pytest.approx(torch.pi * 6.4**2, rel=0.3)


def test_patches_are_flat_or_parts_of_other_images_of_the_batch() -> None:
    clean = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    blemishes = Blemishes(patches=1, presence=1, size=(0.2, 0.2), stretch=(1, 1), opacity=(1, 1))
    centres = torch.cat([blemishes(clean, seeded(seed))[:1].flatten(2).amax(2) for seed in range(60)])
    ones = (centres == 1).all(1)
    assert ones.any()  # a part of the other image
    assert ((centres > 0) & (centres < 1)).any()  # a level, one for each channel
    assert (centres[(centres > 0).any(1) & ~ones].std(1) > 0).all()


def test_faint_patches_change_little() -> None:
    clean = greys(50)
    assert float((Blemishes(opacity=(0.1, 0.1), patches=1)(clean, seeded()) - clean).abs().max()) <= 0.1 * 0.8 + 1e-6


def test_vectors_are_refused() -> None:
    with pytest.raises(RecipeError, match="blemishes' needs images"):
        Blemishes()(torch.zeros(3, 8), seeded())

"""Corruptions: exactly what they say, drawn from the run's generator alone."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from training.corruption import Corruption, Gaussian, Masking, Nothing, SaltAndPepper

KINDS = [Nothing(), Gaussian(sigma=0.5), Gaussian(sigma=0.5, clip=False), Masking(share=0.3), SaltAndPepper(share=0.3)]
every_kind = pytest.mark.parametrize("corruption", KINDS, ids=str)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def grey(*shape: int) -> Tensor:
    return torch.full(shape, 0.4)


@every_kind
def test_the_same_generator_gives_the_same_noise_and_nothing_else_is_drawn_on(corruption: Any) -> None:
    state, clean = torch.get_rng_state(), grey(3, 1, 8, 8)
    first, again, other = (corruption(clean, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert isinstance(corruption, Nothing) or not torch.equal(first, other)
    assert torch.equal(clean, grey(3, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)


@every_kind
def test_each_kind_is_found_by_its_name(corruption: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Corruption)
    assert adapter.validate_python(corruption.model_dump()) == corruption


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.333, 0.99])
@pytest.mark.parametrize("shape", [(784,), (1, 28, 28), (3, 5, 7)])
def test_masking_takes_exactly_its_share_of_every_item(share: float, shape: tuple[int, ...]) -> None:
    noisy = Masking(share=share)(torch.ones(20, *shape), seeded()).flatten(1)
    assert set((noisy == 0).sum(1).tolist()) == {round(share * noisy.shape[1])}
    assert set(noisy.unique().tolist()) <= {0.0, 1.0}


def test_masking_is_uniform_over_the_places() -> None:
    counts = (Masking(share=0.5)(torch.ones(4000, 16), seeded()) == 0).sum(0)
    assert ((counts - 2000).abs() < 6 * (4000 * 0.25) ** 0.5).all()


def test_gaussian_noise_has_its_deviation_and_may_be_cut() -> None:
    free = Gaussian(sigma=0.5, clip=False)(grey(100, 1000), seeded()) - 0.4
    assert abs(free.mean().item()) < 6 * 0.5 / 1e5**0.5
    assert abs(free.std().item() - 0.5) < 0.01
    cut = Gaussian(sigma=0.5, clip=True)(grey(100, 1000), seeded())
    assert torch.equal(cut, (free + 0.4).clamp(0, 1)) or torch.allclose(cut, (free + 0.4).clamp(0, 1), atol=1e-6)
    assert (cut.min().item(), cut.max().item()) == (0, 1)


def test_salt_and_pepper_come_in_equal_parts() -> None:
    noisy = SaltAndPepper(share=0.2)(grey(100, 1000), seeded())
    for value in (0.0, 1.0):
        assert abs((noisy == value).float().mean().item() - 0.1) < 6 * (0.1 * 0.9 / 1e5) ** 0.5
    assert set(noisy.unique().tolist()) == {0.0, 1.0, grey(1).item()}

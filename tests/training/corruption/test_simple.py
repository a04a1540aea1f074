"""Simple corruptions: exact statistics, and randomness from the generator of the run only."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from training.corruption import (
    Blemishes,
    BlindGaussian,
    Corruption,
    Dropout,
    Gaussian,
    Identity,
    Masking,
    Mixture,
    Occlusion,
    SaltAndPepper,
    evaluation_levels,
)

KINDS = [
    Identity(),
    Gaussian(sigma=0.5),
    Gaussian(sigma=0.5, clip=False),
    BlindGaussian(high=0.2),
    Masking(fraction=0.3),
    SaltAndPepper(probability=0.3),
    Occlusion(fraction=0.3),
    Dropout(probability=0.3),
    Blemishes(presence=1),
    Mixture(of=[Masking(fraction=0.3), Occlusion(fraction=0.3)]),
]
every_kind = pytest.mark.parametrize("corruption", KINDS, ids=str)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def grey(*shape: int) -> Tensor:
    return torch.full(shape, 0.4)


@every_kind
def test_noise_is_reproducible_and_leaves_global_rng_alone(corruption: Any) -> None:
    state, clean = torch.get_rng_state(), grey(3, 1, 8, 8)
    first, again, other = (corruption(clean, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert isinstance(corruption, Identity) or not torch.equal(first, other)
    assert torch.equal(clean, grey(3, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)


@every_kind
def test_corruption_is_parsed_by_its_kind(corruption: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Corruption)
    assert adapter.validate_python(corruption.model_dump()) == corruption


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.333, 0.99])
@pytest.mark.parametrize("shape", [(784,), (1, 28, 28), (3, 5, 7)])
def test_masking_hides_an_exact_fraction_of_every_item(share: float, shape: tuple[int, ...]) -> None:
    noisy = Masking(fraction=share)(torch.ones(20, *shape), seeded()).flatten(1)
    assert set((noisy == 0).sum(1).tolist()) == {round(share * noisy.shape[1])}
    assert set(noisy.unique().tolist()) <= {0.0, 1.0}


def test_masking_is_uniform_over_positions() -> None:
    counts = (Masking(fraction=0.5)(torch.ones(4000, 16), seeded()) == 0).sum(0)
    assert ((counts - 2000).abs() < 6 * (4000 * 0.25) ** 0.5).all()


def test_gaussian_noise_has_its_deviation_and_may_be_clipped() -> None:
    free = Gaussian(sigma=0.5, clip=False)(grey(100, 1000), seeded()) - 0.4
    assert abs(free.mean().item()) < 6 * 0.5 / 1e5**0.5
    assert abs(free.std().item() - 0.5) < 0.01
    cut = Gaussian(sigma=0.5, clip=True)(grey(100, 1000), seeded())
    assert torch.equal(cut, (free + 0.4).clamp(0, 1)) or torch.allclose(cut, (free + 0.4).clamp(0, 1), atol=1e-6)
    assert (cut.min().item(), cut.max().item()) == (0, 1)


def test_salt_and_pepper_are_equally_frequent() -> None:
    noisy = SaltAndPepper(probability=0.2)(grey(100, 1000), seeded())
    for value in (0.0, 1.0):
        assert abs((noisy == value).float().mean().item() - 0.1) < 6 * (0.1 * 0.9 / 1e5) ** 0.5
    assert set(noisy.unique().tolist()) == {0.0, 1.0, grey(1).item()}


def rectangle(hidden: Tensor) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the filled rectangle in H,W; fail if there is anything else."""
    rows, columns = hidden.any(1).nonzero().flatten().tolist(), hidden.any(0).nonzero().flatten().tolist()
    filled = torch.zeros_like(hidden)
    filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    assert torch.equal(filled, hidden)
    return rows[0], columns[0], len(rows), len(columns)


@pytest.mark.parametrize(("height", "width", "share", "size"), [(8, 8, 0.25, (4, 4)), (9, 30, 0.5, (6, 21))])
def test_occlusion_is_one_rectangle_in_all_channels(
    height: int, width: int, share: float, size: tuple[int, int]
) -> None:
    clean = torch.rand(600, 3, height, width, generator=seeded()) + 0.1
    noisy = Occlusion(fraction=share)(clean, seeded())
    rectangles = [rectangle(picture[0] == 0) for picture in noisy]
    assert {(tall, wide) for _, _, tall, wide in rectangles} == {size}
    assert {top for top, *_ in rectangles} == set(range(height - size[0] + 1))
    assert {left for _, left, *_ in rectangles} == set(range(width - size[1] + 1))
    hidden = (noisy == 0).all(1, keepdim=True).expand_as(noisy)
    assert torch.equal(noisy, clean.where(~hidden, 0.0))


def test_occlusion_of_a_vector_is_one_interval() -> None:
    noisy = Occlusion(fraction=0.3)(torch.ones(200, 10), seeded())
    runs = [rectangle(item[None] == 0) for item in noisy]
    assert {length for *_, length in runs} == {3}
    assert {start for _, start, *_ in runs} == set(range(8))


def test_occlusion_of_fraction_0_changes_nothing() -> None:
    assert torch.equal(Occlusion(fraction=0.0)(grey(3, 1, 8, 8), seeded()), grey(3, 1, 8, 8))


def test_dropout_equals_torch_dropout() -> None:
    noisy = Dropout(probability=0.2)(grey(100, 1000), seeded())
    torch.manual_seed(0)
    expected = torch.nn.Dropout(0.2)(grey(100, 1000))
    assert noisy.unique().tolist() == pytest.approx(expected.unique().tolist())
    assert abs((noisy == 0).float().mean().item() - 0.2) < 6 * (0.2 * 0.8 / 1e5) ** 0.5
    assert len((noisy == 0).sum(1).unique()) > 10  # the count is random
    unscaled = Dropout(probability=0.2, scale=False)(grey(100, 1000), seeded())
    assert torch.equal(unscaled, grey(100, 1000).where(noisy != 0, 0.0))


def test_mixture_applies_one_corruption_per_item() -> None:
    clean = torch.ones(4000, 16)
    mixture = Mixture(of=[Identity(), Masking(fraction=0.25), Masking(fraction=0.75)])
    lost = (mixture(clean, seeded()) == 0).sum(1)
    counts = torch.bincount(lost, minlength=17)
    assert counts.nonzero().flatten().tolist() == [0, 4, 12]
    assert ((counts[[0, 4, 12]] - 4000 / 3).abs() < 6 * (4000 * 2 / 9) ** 0.5).all()
    assert mixture(clean[:1], seeded()).shape == (1, 16)


def test_blind_noise_level_varies_per_picture_within_bounds() -> None:
    noisy = BlindGaussian(low=0.02, high=0.1)(grey(300, 3, 24, 24), seeded())
    deviations = noisy.flatten(1).std(1)
    assert 0.018 < deviations.min() < 0.03
    assert 0.09 < deviations.max() < 0.11
    assert deviations.mean() == pytest.approx(0.06, abs=0.005)


def test_blind_noise_is_rounded_and_clipped_to_8_bits() -> None:
    levels = BlindGaussian(high=0.5)(torch.rand(20, 3, 8, 8, generator=seeded(1)), seeded()) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert levels.min() == 0
    assert levels.max() == pytest.approx(255)


def test_grey_stays_grey_under_blind_noise() -> None:
    colour = torch.rand(1, 3, 8, 8, generator=seeded(1))
    noisy = BlindGaussian(low=0.1, high=0.1)(torch.cat([grey(1, 3, 8, 8), colour]), seeded())
    assert (noisy[0] == noisy[0, :1]).all()
    assert (noisy[1] != noisy[1, :1]).any()


def test_blind_noise_is_evaluated_by_level() -> None:
    assert list(evaluation_levels(BlindGaussian(high=55 / 255))) == ["_15", "_25", "_50"]
    assert list(evaluation_levels(BlindGaussian(high=30 / 255))) == ["_15", "_25"]
    assert list(evaluation_levels(BlindGaussian(high=0.01))) == [""]
    assert evaluation_levels(Masking(fraction=0.5)) == {"": Masking(fraction=0.5)}
    noisy = evaluation_levels(BlindGaussian(high=55 / 255))["_25"](grey(50, 1, 20, 20), seeded())
    assert noisy.flatten(1).std(1).mean() == pytest.approx(25 / 255, rel=0.02)

"""Noise of photographs: properties of all kinds, and the statistics of each kind."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Generator, Tensor

from training.corruption import (
    Banding,
    BlindGaussian,
    Camera,
    ChromaBlotches,
    Corruption,
    Dust,
    FilmGrain,
    Halftone,
    Identity,
    Jpeg,
    Mixture,
    Paper,
    evaluation_levels,
)
from training.errors import RecipeError
from training.imaging.colour import rgb_to_ycc, srgb_to_linear

KINDS = [Camera(), FilmGrain(), Halftone(), Dust(), Paper(), Jpeg(), Banding(), ChromaBlotches()]
every_kind = pytest.mark.parametrize("corruption", KINDS, ids=lambda corruption: corruption.kind)
UNPROCESSED = Camera(
    exposure=(1, 1),
    white_balance=(1, 1),
    crosstalk=(0, 0),
    contrast=(1, 1),
    rows=0,
    full_colour=1,
    smoothing=0,
    sharpening=0,
    resizing=0,
    first_jpeg=0,
    jpeg=0,
)
"""A sensor with three colours in every pixel, followed by the sRGB curve only."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def scenes(count: int, side: int = 48) -> Tensor:
    """Return smooth colour pictures in 0.1..0.9 that differ from their shifts: float32 N,3,side,side."""
    coarse = torch.rand(count, 3, 12, 12, generator=seeded(9)) * 0.8 + 0.1
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")


def flat(value: float, count: int, side: int = 48) -> Tensor:
    """Return flat, almost grey pictures; blue differs slightly, so that they count as colour pictures."""
    pictures = torch.full((count, 3, side, side), value)
    pictures[:, 2] += 1e-3
    return pictures


def correlation(field: Tensor, down: int, right: int) -> float:
    """Return the correlation of N,C,H,W with itself at an offset in pixels."""
    height, width = field.shape[2:]
    field = field - field.mean((2, 3), keepdim=True)
    one, other = field[:, :, : height - down, : width - right], field[:, :, down:, right:]
    return float((one * other).mean() / field.square().mean())


@every_kind
def test_noise_depends_on_the_generator_only(corruption: Any) -> None:
    state, clean = torch.get_rng_state(), scenes(8)
    first, again, other = (corruption(clean, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(clean, scenes(8))
    assert torch.equal(torch.get_rng_state(), state)


@every_kind
@pytest.mark.parametrize("shape", [(5, 3, 40, 56), (3, 1, 24, 24), (1, 3, 33, 47), (0, 3, 16, 16)])
def test_noise_keeps_shape_and_8_bit_values(corruption: Any, shape: tuple[int, ...]) -> None:
    noisy = corruption(torch.rand(shape, generator=seeded(3)), seeded())
    assert noisy.shape == shape
    assert noisy.dtype == torch.float32
    assert torch.equal((noisy * 255).round() / 255, noisy)
    assert not len(noisy) or (noisy.min() >= 0 and noisy.max() <= 1)


@every_kind
def test_grey_stays_grey_and_colour_stays_colour(corruption: Any) -> None:
    clean = scenes(12)
    clean[::2] = clean[::2, :1]
    noisy = corruption(clean, seeded())
    grey = (noisy == noisy[:, :1]).flatten(1).all(1)
    assert grey.tolist() == [True, False] * 6


@every_kind
def test_noise_does_not_move_the_picture(corruption: Any) -> None:
    clean = scenes(24)
    noisy = corruption(clean, seeded())[:, :, 4:-4, 4:-4]
    errors = {
        (down, right): (noisy - clean[:, :, 4 + down : 44 + down, 4 + right : 44 + right]).square().mean().item()
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    assert min(errors, key=lambda shift: errors[shift]) == (0, 0)


@every_kind
def test_noise_keeps_the_mean(corruption: Any) -> None:
    clean = scenes(48)
    assert (corruption(clean, seeded()) - clean).mean().item() == pytest.approx(0, abs=0.006)


@every_kind
def test_recipe_accepts_every_kind_with_its_fields(corruption: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Corruption)
    assert adapter.validate_python(corruption.model_dump(mode="json")) == corruption


@every_kind
def test_vectors_are_rejected(corruption: Any) -> None:
    with pytest.raises(RecipeError, match="pictures"):
        corruption(torch.zeros(3, 10), seeded())


def test_range_is_an_ascending_pair() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Corruption)
    assert adapter.validate_python({"kind": "camera", "shot": [0.001, 0.002]}).shot == (0.001, 0.002)
    with pytest.raises(ValidationError, match="smaller first"):
        adapter.validate_python({"kind": "camera", "shot": [0.002, 0.001]})


def test_sensor_noise_has_poisson_gaussian_variance() -> None:
    shot, count = 0.002, 400
    camera = UNPROCESSED.model_copy(update={"shot": (shot, shot)})
    variances: list[float] = []
    for value in (0.3, 0.5, 0.7):
        clean = flat(value, count)
        noise = srgb_to_linear(camera(clean, seeded(4))) - srgb_to_linear(clean)
        variances.append(noise.var().item())
    light = srgb_to_linear(torch.tensor([0.3, 0.5, 0.7])).tolist()
    slopes = [
        (variances[2] - variances[0]) / (light[2] - light[0]),
        (variances[1] - variances[0]) / (light[1] - light[0]),
    ]
    assert slopes == pytest.approx([shot, shot], rel=0.06)
    read = np.exp(2.18 * np.log(shot) + 1.2 + 0.26**2 / 2)  # the mean of a log-normal variance
    assert variances[0] - shot * light[0] == pytest.approx(read, abs=4e-5)


def test_white_balance_gains_scale_red_and_blue_noise() -> None:
    camera = UNPROCESSED.model_copy(update={"shot": (0.002, 0.002), "white_balance": (2, 2)})
    clean = flat(0.6, 100)
    deviations = (srgb_to_linear(camera(clean, seeded())) - srgb_to_linear(clean)).transpose(0, 1).flatten(1).std(1)
    assert (deviations[0] / deviations[1]).item() == pytest.approx(2**0.5, rel=0.06)  # shot noise, half of the light
    assert (deviations[2] / deviations[1]).item() == pytest.approx(2**0.5, rel=0.06)


def test_demosaicing_correlates_white_noise() -> None:
    clean = flat(0.5, 40)
    white = UNPROCESSED(clean, seeded()) - clean
    demosaiced = UNPROCESSED.model_copy(update={"full_colour": 0.0})(clean, seeded()) - clean
    assert abs(correlation(white, 0, 1)) < 0.03
    assert correlation(demosaiced, 0, 1) > 0.2
    assert correlation(rgb_to_ycc(demosaiced)[:, 1:], 0, 1) > 0.4


def test_resizing_makes_noise_coarser() -> None:
    enlarged = UNPROCESSED.model_copy(update={"resizing": 1.0, "scale": (0.5, 0.5)})
    clean = flat(0.5, 40)
    assert correlation(enlarged(clean, seeded()) - clean, 0, 1) > 0.5


def test_row_noise_is_equal_along_rows_or_columns() -> None:
    clean = flat(0.4, 60)
    noise = Banding(white=(0, 0), strength=(0.03, 0.03), jpeg=0)(clean, seeded()) - clean
    along_rows, along_columns = noise.std(3).amax((1, 2)), noise.std(2).amax((1, 2))
    assert (torch.minimum(along_rows, along_columns) < 2e-3).all()
    assert 10 < (along_rows < along_columns).sum() < 50
    assert noise.std().item() == pytest.approx(0.03, rel=0.25)


def test_banding_is_strongest_in_shadows() -> None:
    noise = [Banding(jpeg=0)(flat(value, 60), seeded()) - flat(value, 60) for value in (0.2, 0.8)]
    assert noise[0].std() > 1.5 * noise[1].std()


def test_film_grain_peaks_at_middle_grey_and_may_be_monochrome() -> None:
    film = FilmGrain(strength=(0.05, 0.05), jpeg=0)
    dark, middle, bright = (film(flat(value, 80), seeded()) - flat(value, 80) for value in (0.04, 0.5, 0.96))
    assert middle.std().item() == pytest.approx(0.05, rel=0.12)
    assert dark.std() < 0.75 * middle.std()
    assert bright.std() < 0.75 * middle.std()
    single = film.model_copy(update={"monochrome": 1.0})(flat(0.5, 10), seeded()) - flat(0.5, 10)
    assert (single - single[:, :1]).abs().max() < 1.5 / 255


def test_film_grain_has_the_set_size() -> None:
    clean = flat(0.5, 40)
    fine, coarse = (FilmGrain(size=(size, size), jpeg=0)(clean, seeded()) - clean for size in (0.3, 1.5))
    assert abs(correlation(fine, 0, 1)) < 0.15
    assert correlation(coarse, 0, 1) > 0.6


def test_halftone_has_its_period_and_keeps_tones() -> None:
    clean = flat(0.5, 20, 96)
    noise = Halftone(period=(4, 4), softness=(0.25, 0.35), jpeg=0)(clean, seeded()) - clean
    spectrum = torch.fft.rfft2(noise[:, 0] - noise[:, 0].mean((1, 2), keepdim=True)).abs()
    for one in spectrum:
        row, column = divmod(int(one.argmax()), one.shape[1])
        frequency = np.hypot(min(row, 96 - row), column) / 96
        assert frequency == pytest.approx(1 / 4, rel=0.08)
    blocks = torch.nn.functional.avg_pool2d(noise, 24)
    assert blocks.abs().max() < 0.03


def test_dust_changes_a_small_area_only() -> None:
    clean = scenes(60, 96)
    changed = (Dust(noise=(0, 0), jpeg=0)(clean, seeded()) - clean).abs().amax(1) > 2 / 255
    covered = changed.float().mean((1, 2))
    assert 0.001 < covered.mean() < 0.08
    assert covered.max() < 0.3


def test_paper_texture_is_stronger_on_white_than_on_black() -> None:
    paper = Paper(noise=(0, 0), jpeg=0)
    dark, bright = (paper(flat(value, 60), seeded()) - flat(value, 60) for value in (0.1, 0.8))
    assert bright.std() > 1.5 * dark.std()


def test_blotches_are_wide_and_change_chroma_only() -> None:
    clean = flat(0.4, 40)
    noise = rgb_to_ycc(ChromaBlotches(luma_share=(0, 0), size=(3, 3), jpeg=0)(clean, seeded()) - clean)
    assert noise[:, :1].std() < 0.1 * noise[:, 1:].std()
    assert correlation(noise[:, 1:], 0, 2) > 0.7


def test_jpeg_error_grows_and_block_offset_varies() -> None:
    clean = torch.rand(200, 3, 32, 32, generator=seeded(3)) * 0.05 + scenes(200, 32)
    good, bad = (Jpeg(quality=(quality, quality), twice=0)(clean, seeded()) - clean for quality in (90, 10))
    assert bad.square().mean() > 4 * good.square().mean()
    smooth = scenes(200, 32).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    steps = Jpeg(quality=(5, 5), twice=0)(smooth, seeded())[:, 0].diff(dim=2).abs().mean(1)
    places = torch.stack([steps[:, place::8].mean(1) for place in range(7)], 1).argmax(1)
    assert len(places.unique()) == 7


def test_shares_are_frequencies_of_kinds() -> None:
    mixture = Mixture(of=[Identity(), BlindGaussian(low=0.2, high=0.2), Jpeg(quality=(90, 90))], shares=[6.0, 3.0, 1.0])
    clean = scenes(2000, 16)
    error = (mixture(clean, seeded()) - clean).flatten(1).std(1)
    counts = [int((error == 0).sum()), int((error > 0.1).sum())]
    assert counts[0] == pytest.approx(1200, abs=6 * (2000 * 0.24) ** 0.5)
    assert counts[1] == pytest.approx(600, abs=6 * (2000 * 0.21) ** 0.5)


def test_shares_must_match_the_kinds() -> None:
    with pytest.raises(ValidationError, match="2 corruptions in `of` and 1 shares"):
        Mixture(of=[Identity(), Jpeg()], shares=[1.0])


def test_mixture_is_evaluated_by_kind() -> None:
    mixture = Mixture(of=[Camera(), BlindGaussian(high=0.2), Identity()], shares=[2.0, 1.0, 1.0])
    assert evaluation_levels(mixture) == {"_camera": Camera(), **evaluation_levels(BlindGaussian(high=0.2))}

"""The figures of an output, compared with numpy."""

from math import log10
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.card import Card, read_card
from service.engine.operations import ItemResult, error_percentile, reconstruct_figures

DIGITS = read_card((Path(__file__).parents[3] / "models/digits/1/card.json").read_bytes())
ERRORS = st.integers(0, 2000).map(lambda thousandths: thousandths / 1000)


def with_percentiles(percentiles: list[float]) -> Card:
    """Return a card with these percentiles of the reconstruction error."""
    return DIGITS.model_copy(update={"error_percentiles": percentiles})


@given(st.lists(ERRORS, min_size=101, max_size=101), st.integers(0, 100), ERRORS)
def test_percentile_is_the_linear_interpolation_of_numpy(errors: list[float], index: int, error: float) -> None:
    percentiles = sorted(errors)
    card = with_percentiles(percentiles)
    for value in (error, percentiles[index]):
        expected = np.interp(value, percentiles, np.arange(101.0))
        assert error_percentile(card, value) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize(("error", "percentile"), [(0.0, 0.0), (0.5, 0.0), (1.0, 100.0), (9.0, 100.0)])
def test_percentile_at_a_step_and_outside(error: float, percentile: float) -> None:
    card = with_percentiles([1.0] * 101)
    assert error_percentile(card, error) == percentile


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    image = np.zeros((2, 2, 1), np.uint8)
    item = ItemResult(DIGITS, image, image, lambda: 0.25)
    assert reconstruct_figures(item)["psnr"] == pytest.approx(-10 * log10(0.25))
    assert reconstruct_figures(ItemResult(DIGITS, image, image, lambda: 0.0))["psnr"] == float("inf")

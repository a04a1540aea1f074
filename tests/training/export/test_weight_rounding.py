"""Weights of few bits: the levels, and the error of the outputs for inputs that are correlated or are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from training.export.weight_rounding import Int8Weights, round_weights

weights = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.just(3), st.just(3)),
    elements=st.floats(-2, 2, width=16),
)


def values(rounded: Int8Weights) -> NDArray[np.float64]:
    return np.multiply(rounded.levels, rounded.steps[:, None, None, None], dtype=np.float64)


@given(weights, st.sampled_from([7, 8]))
def test_largest_weight_of_a_channel_has_the_largest_level(array: NDArray[np.float32], bits: int) -> None:
    inputs = np.random.default_rng(0).normal(size=(200, array[0].size)) + 1
    rounded = round_weights(array, inputs.T @ inputs / len(inputs), bits)
    limit = 2 ** (bits - 1) - 1
    assert rounded.levels.dtype == np.int8
    assert np.abs(rounded.levels).max() <= limit
    for channel, step in zip(array.astype(float), rounded.steps, strict=True):
        assert step == pytest.approx((np.abs(channel).max() or 1) / limit)


def test_uncorrelated_inputs_give_the_nearest_levels() -> None:
    array = np.random.default_rng(0).normal(size=(5, 4, 3, 3)).astype(np.float32)
    rounded = round_weights(array, np.eye(36), 8)
    assert (rounded.levels == np.rint(array / rounded.steps[:, None, None, None])).all()


def test_errors_of_correlated_inputs_cancel() -> None:
    random = np.random.default_rng(0)
    array = random.normal(size=(8, 4, 3, 3)).astype(np.float32)
    inputs = random.normal(size=(5000, 1)) + 0.1 * random.normal(size=(5000, 36))  # as neighboring pixels
    rounded = round_weights(array, inputs.T @ inputs / len(inputs), 7)
    steps = rounded.steps[:, None, None, None]
    nearest = np.rint(array / steps) * steps
    errors = [np.square(inputs @ (other - array).reshape(8, -1).T).mean() for other in (values(rounded), nearest)]
    assert errors[0] < errors[1] / 5


def test_inputs_that_are_always_zero_are_no_error() -> None:
    array = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    assert np.isfinite(values(round_weights(array, np.zeros((18, 18)), 7))).all()

"""The range coder: round trips, and sizes close to the entropy of the tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.export.code_tables import Symbols, fit_range_coder


def skewed(count: int, units: int = 12, seed: int = 0) -> Symbols:
    """Return codes whose first units vary widely and whose last units hardly vary."""
    spread = np.geomspace(8, 0.1, units)
    return np.round(np.random.default_rng(seed).laplace(scale=spread, size=(count, units))).astype(np.int32)


TABLES = fit_range_coder(skewed(5000))


@given(arrays(np.int32, (3, 12), elements=st.integers(-TABLES.max_symbol, TABLES.max_symbol)))
def test_symbols_in_range_round_trip(codes: Symbols) -> None:
    assert np.array_equal(TABLES.decode(TABLES.encode(codes)), codes)


@given(st.integers(0, 2**32 - 1))
def test_coded_size_is_close_to_the_entropy(seed: int) -> None:
    codes = TABLES.clip(skewed(20, seed=seed))
    written = TABLES.encode(codes)
    assert np.array_equal(TABLES.decode(written), codes)
    chances = TABLES.probabilities.astype(np.float64)[np.arange(12), codes + TABLES.max_symbol]
    bits = -np.log2(chances).sum(1)
    # Rounded up to bytes, and at most one byte more for the final interval of the coder.
    assert all(8 * len(item) < least + 16 for item, least in zip(written, bits, strict=True))


def test_certain_symbols_take_almost_no_bytes() -> None:
    tables = fit_range_coder(np.zeros((10**6, 3), np.int32))
    written = tables.encode(np.zeros((2, 3), np.int32))
    assert [len(item) for item in written] == [1, 1]
    assert tables.decode(written).tolist() == [[0, 0, 0]] * 2


def test_symbols_out_of_range_are_rejected_or_clipped() -> None:
    far = np.full((1, 12), TABLES.max_symbol + 1, np.int32)
    with pytest.raises(ValueError, match="must be in"):
        TABLES.encode(far)
    assert TABLES.clip(far).tolist() == [[TABLES.max_symbol] * 12]

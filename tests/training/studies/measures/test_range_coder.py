"""The range coder: what is written is read again, in as few bytes as the tables' entropy allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.studies.measures.range_coder import RangeCoder, Symbols


def skewed(count: int, units: int = 12, seed: int = 0) -> Symbols:
    """Codes whose first units vary much and whose last hardly ever do."""
    spread = np.geomspace(8, 0.1, units)
    return np.round(np.random.default_rng(seed).laplace(scale=spread, size=(count, units))).astype(np.int32)


TABLES = RangeCoder(skewed(5000))


@given(arrays(np.int32, (3, 12), elements=st.integers(-TABLES.max_symbol, TABLES.max_symbol)))
def test_whatever_the_tables_reach_is_read_again(codes: Symbols) -> None:
    assert np.array_equal(TABLES.decode(TABLES.encode(codes)), codes)


@given(st.integers(0, 2**32 - 1))
def test_likely_codes_are_read_again_from_hardly_more_bytes_than_their_information(seed: int) -> None:
    codes = TABLES.clip(skewed(20, seed=seed))
    written = TABLES.encode(codes)
    assert np.array_equal(TABLES.decode(written), codes)
    chances = TABLES.probabilities.astype(np.float64)[np.arange(12), codes + TABLES.max_symbol]
    bits = -np.log2(chances).sum(1)
    # Rounded up to bytes, and at most one more where no number of so few lies in the coder's interval.
    assert all(8 * len(item) < least + 16 for item, least in zip(written, bits, strict=True))


def test_a_code_that_is_certain_takes_next_to_nothing() -> None:
    tables = RangeCoder(np.zeros((10**6, 3), np.int32))
    written = tables.encode(np.zeros((2, 3), np.int32))
    assert [len(item) for item in written] == [1, 1]
    assert tables.decode(written).tolist() == [[0, 0, 0]] * 2


def test_what_is_out_of_reach_is_refused_and_moved_within() -> None:
    far = np.full((1, 12), TABLES.max_symbol + 1, np.int32)
    with pytest.raises(ValueError, match="must be in"):
        TABLES.encode(far)
    assert TABLES.clip(far).tolist() == [[TABLES.max_symbol] * 12]

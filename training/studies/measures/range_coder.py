"""Whole numbers as few bytes: a range coder with one table of probabilities for each unit, counted on training codes.

Every item is written by itself, without a header: whoever reads it has the same tables. Knows no nets and no pictures;
the coder is constriction's, this file alone knows it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] - it is compiled
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
"""Codes N,units of whole numbers."""

PSEUDOCOUNT, LAPLACE_WEIGHT = 0.02, 20.0
"""How often every value is held to have been seen beyond its count; and, of the Laplace distribution that fits the
unit, how many more were: with few training codes it says what the gaps between the counts are worth."""
RANGE_FACTOR = 2
"""The tables reach this many times as far as the training codes did."""
FAMILY = stream.model.Categorical(perfect=False)
WORD_BITS, STATE_BITS = 32, 64
"""Bits of what the coder writes at a time, and of what it still holds back."""


class RangeCoder:
    """What writes and reads codes; values beyond the tables' reach are moved to its end by `clip`, before writing."""

    def __init__(self, training: Symbols) -> None:
        self.max_symbol = RANGE_FACTOR * int(np.abs(training).max(initial=0)) + 1
        counts = np.stack([self._smoothed_counts(unit) for unit in np.ascontiguousarray(training.T)])
        self.probabilities = (counts / counts.sum(1, keepdims=True)).astype(np.float32)

    def clip(self, symbols: Symbols) -> Symbols:
        """The nearest codes that can be written: the same, for all that resembles the training codes."""
        return np.clip(symbols, -self.max_symbol, self.max_symbol)

    def encode(self, symbols: Symbols) -> list[bytes]:
        """The bytes of each item's code. Raises ValueError where a value is out of reach."""
        if np.abs(symbols).max(initial=0) > self.max_symbol:
            raise ValueError(f"the tables reach from {-self.max_symbol} to {self.max_symbol}")
        return [self._encode_item(item) for item in (symbols + self.max_symbol).astype(np.int32)]

    def decode(self, written: Sequence[bytes]) -> Symbols:
        """The codes again."""
        return np.stack([self._decode_item(item) for item in written])

    def _smoothed_counts(self, unit: Symbols) -> NDArray[np.float64]:
        """How often each value is held to have been seen."""
        values = np.arange(-self.max_symbol, self.max_symbol + 1)
        centre = np.median(unit)
        laplace = np.exp(-np.abs(values - centre) / max(np.abs(unit - centre).mean(), 1 / (len(unit) + 1)))
        counts = np.bincount(unit + self.max_symbol, minlength=len(values))
        return counts + PSEUDOCOUNT + LAPLACE_WEIGHT * laplace / laplace.sum()

    def _encode_item(self, item: Symbols) -> bytes:
        encoder = stream.queue.RangeEncoder()
        encoder.encode(item, FAMILY, self.probabilities)
        return _shortest_bytes(encoder)

    def _decode_item(self, item: bytes) -> Symbols:
        words = np.frombuffer(item + bytes(-len(item) % (WORD_BITS // 8)), ">u4").astype(np.uint32)
        return stream.queue.RangeDecoder(words).decode(FAMILY, self.probabilities) - self.max_symbol


def _shortest_bytes(encoder: Any) -> bytes:
    """The fewest bytes that say the same. Any number in the coder's last interval does; the coder names one in words,
    this the one that ends in most zeros, which the reader fills in by itself.
    """
    count, (lower, width) = encoder.pos()
    bits = WORD_BITS * count + STATE_BITS
    words: list[int] = encoder.get_compressed().tolist()
    named = sum(word << (bits - WORD_BITS * (number + 1)) for number, word in enumerate(words))
    low = named - (named - lower) % (1 << STATE_BITS)
    for size in range(bits // 8 + 1):
        unit = 1 << (bits - 8 * size)
        rounded = -(-low // unit)
        if rounded * unit < low + width:
            return rounded.to_bytes(size, "big")
    raise AssertionError("the interval holds its own lower end")

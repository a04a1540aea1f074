"""Entropy coding of integer codes: a range coder (constriction) with one table of probabilities per unit.

The tables are counted on training codes and shared by encoder and decoder. Every item is encoded by itself and has no
header. Range coding: Martin, "Range encoding: an algorithm for removing redundancy from a digitised message" (1979).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] - it is compiled
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
"""Integer codes, int32 (N, units)."""

PSEUDOCOUNT, LAPLACE_WEIGHT = 0.02, 20.0
"""Counts added to the tables: PSEUDOCOUNT per value, and LAPLACE_WEIGHT in all, distributed as the Laplace distribution
that fits the unit. They smooth the counts of few training codes."""
RANGE_FACTOR = 2
"""Ratio of the largest symbol of the tables to the largest symbol of the training codes."""
FAMILY = stream.model.Categorical(perfect=False)
WORD_BITS, STATE_BITS = 32, 64
"""Bits of a word of the encoder's output, and of its internal state."""


class RangeCoder:
    """Encoder and decoder of integer codes in -max_symbol..max_symbol, with tables counted on training codes.

    Args:
        training: Training codes, int32 (N, units).
    """

    def __init__(self, training: Symbols) -> None:
        self.max_symbol = RANGE_FACTOR * int(np.abs(training).max(initial=0)) + 1
        counts = np.stack([self._smoothed_counts(unit) for unit in np.ascontiguousarray(training.T)])
        self.probabilities = (counts / counts.sum(1, keepdims=True)).astype(np.float32)

    def clip(self, symbols: Symbols) -> Symbols:
        """Clip codes to the range of the tables."""
        return np.clip(symbols, -self.max_symbol, self.max_symbol)

    def encode(self, symbols: Symbols) -> list[bytes]:
        """Encode each code of int32 (N, units) as bytes.

        Raises:
            ValueError: A symbol is outside the range of the tables. Call `clip` first.
        """
        if np.abs(symbols).max(initial=0) > self.max_symbol:
            raise ValueError(f"symbols must be in {-self.max_symbol}..{self.max_symbol}: call clip() first")
        return [self._encode_item(item) for item in (symbols + self.max_symbol).astype(np.int32)]

    def decode(self, encoded: Sequence[bytes]) -> Symbols:
        """Decode the bytes of each item; returns codes int32 (N, units)."""
        return np.stack([self._decode_item(item) for item in encoded])

    def _smoothed_counts(self, unit: Symbols) -> NDArray[np.float64]:
        """Return the smoothed count of each value of a unit, (2 * max_symbol + 1,)."""
        values = np.arange(-self.max_symbol, self.max_symbol + 1)
        # Maximum-likelihood Laplace distribution: its centre is the median, its scale the mean absolute deviation.
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
    """Return the shortest bytes that decode to the encoder's symbols.

    Any number in the encoder's final interval decodes to the same symbols. The encoder returns one in whole words. This
    function returns the one with most trailing zero bytes and omits these; the decoder appends zeros.
    """
    # As integers of `bits` bits, the interval is low..low + width, and the encoder's own number `point` lies in it.
    count, (lower, width) = encoder.pos()
    bits = WORD_BITS * count + STATE_BITS
    words: list[int] = encoder.get_compressed().tolist()
    point = sum(word << (bits - WORD_BITS * (number + 1)) for number, word in enumerate(words))
    low = point - (point - lower) % (1 << STATE_BITS)
    for size in range(bits // 8 + 1):
        unit = 1 << (bits - 8 * size)
        rounded = -(-low // unit)
        if rounded * unit < low + width:
            return rounded.to_bytes(size, "big")
    raise AssertionError("the interval contains its lower end")

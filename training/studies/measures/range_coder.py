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

UNSEEN, SMOOTH = 0.02, 20.0
"""How often every value is held to have been seen beyond its count; and, of the Laplace distribution that fits the
unit, how many more were: with few training codes it says what the gaps between the counts are worth."""
BEYOND = 2
"""The tables reach this many times as far as the training codes did."""
FAMILY = stream.model.Categorical(perfect=False)
WORD, STATE = 32, 64
"""Bits of what the coder writes at a time, and of what it still holds back."""


class Tables:
    """What writes and reads codes; values beyond the tables' reach are moved to its end by `within`, before writing."""

    def __init__(self, training: Symbols) -> None:
        self.reach = BEYOND * int(np.abs(training).max(initial=0)) + 1
        counts = np.stack([self._counted(unit) for unit in np.ascontiguousarray(training.T)])
        self.probabilities = (counts / counts.sum(1, keepdims=True)).astype(np.float32)

    def within(self, symbols: Symbols) -> Symbols:
        """The nearest codes that can be written: the same, for all that resembles the training codes."""
        return np.clip(symbols, -self.reach, self.reach)

    def write(self, symbols: Symbols) -> list[bytes]:
        """The bytes of each item's code. Raises ValueError where a value is out of reach."""
        if np.abs(symbols).max(initial=0) > self.reach:
            raise ValueError(f"the tables reach from {-self.reach} to {self.reach}")
        return [self._write(item) for item in (symbols + self.reach).astype(np.int32)]

    def read(self, written: Sequence[bytes]) -> Symbols:
        """The codes again."""
        return np.stack([self._read(item) for item in written])

    def _counted(self, unit: Symbols) -> NDArray[np.float64]:
        """How often each value is held to have been seen."""
        values = np.arange(-self.reach, self.reach + 1)
        centre = np.median(unit)
        laplace = np.exp(-np.abs(values - centre) / max(np.abs(unit - centre).mean(), 1 / (len(unit) + 1)))
        counts = np.bincount(unit + self.reach, minlength=len(values))
        return counts + UNSEEN + SMOOTH * laplace / laplace.sum()

    def _write(self, item: Symbols) -> bytes:
        encoder = stream.queue.RangeEncoder()
        encoder.encode(item, FAMILY, self.probabilities)
        return _shortest(encoder)

    def _read(self, item: bytes) -> Symbols:
        words = np.frombuffer(item + bytes(-len(item) % (WORD // 8)), ">u4").astype(np.uint32)
        return stream.queue.RangeDecoder(words).decode(FAMILY, self.probabilities) - self.reach


def _shortest(encoder: Any) -> bytes:
    """The fewest bytes that say the same. Any number in the coder's last interval does; the coder names one in words,
    this the one that ends in most zeros, which the reader fills in by itself.
    """
    count, (lower, width) = encoder.pos()
    bits = WORD * count + STATE
    words: list[int] = encoder.get_compressed().tolist()
    named = sum(word << (bits - WORD * (number + 1)) for number, word in enumerate(words))
    low = named - (named - lower) % (1 << STATE)
    for size in range(bits // 8 + 1):
        unit = 1 << (bits - 8 * size)
        rounded = -(-low // unit)
        if rounded * unit < low + width:
            return rounded.to_bytes(size, "big")
    raise AssertionError("the interval holds its own lower end")

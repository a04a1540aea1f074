"""Entropy coding of whole-number codes: a range coder (constriction) with one table of probabilities per unit.

Every item is encoded by itself and has no header. Range coding: Martin, "Range encoding: an algorithm for removing
redundancy from a digitised message" (1979).
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
"""Integer codes, int32 (N, units)."""
Probabilities = NDArray[np.float32]
"""Tables, float32 (units, values): the probability of each value -largest..largest of each unit, values odd."""

WORD_BITS, STATE_BITS = 32, 64
"""Bits of a word of the encoder's output, and of its internal state."""
SYMBOL_BITS = 24
"""Resolution of the probabilities in bits: no symbol takes more."""


class RangeCoder:
    """Encoder and decoder of integer codes in -max_symbol..max_symbol.

    Args:
        probabilities: The tables, float32 (units, 2 * max_symbol + 1), all positive.

    Raises:
        ValueError: The tables have another shape, or a value is not positive and finite.
        ImportError: The package constriction is not installed.
    """

    def __init__(self, probabilities: Probabilities) -> None:
        if probabilities.ndim != 2 or probabilities.shape[1] % 2 == 0:
            raise ValueError("the tables of probabilities must have two dimensions, the second an odd number")
        if not (np.isfinite(probabilities) & (probabilities > 0)).all():
            raise ValueError("all probabilities must be positive numbers")
        self.max_symbol = probabilities.shape[1] // 2
        self.probabilities = probabilities
        self._stream: Any = import_module("constriction").stream
        self._family = self._stream.model.Categorical(perfect=False)

    @property
    def units(self) -> int:
        """Number of symbols of an item."""
        return len(self.probabilities)

    @property
    def max_bytes(self) -> int:
        """Upper bound of the size of an encoded item in bytes."""
        return (SYMBOL_BITS * self.units + STATE_BITS) // 8

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
        """Decode the bytes of each item; returns codes int32 (N, units).

        Raises:
            ValueError: Bytes of which the coder knows that no item has them. Most wrong bytes decode to some code.
        """
        return np.stack([self._decode_item(item) for item in encoded])

    def _encode_item(self, item: Symbols) -> bytes:
        encoder = self._stream.queue.RangeEncoder()
        encoder.encode(item, self._family, self.probabilities)
        return _shortest_bytes(encoder)

    def _decode_item(self, item: bytes) -> Symbols:
        words = np.frombuffer(item + bytes(-len(item) % (WORD_BITS // 8)), ">u4").astype(np.uint32)
        try:
            return self._stream.queue.RangeDecoder(words).decode(self._family, self.probabilities) - self.max_symbol
        except AssertionError as error:  # constriction's exception for data that it cannot have written
            raise ValueError("the bytes are no encoded item") from error


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

"""Entropy-coded codes of models whose card has tables for it: from a code to the fewest bytes, and back.

The bytes of an item are a check value of CHECK_BYTES and the output of the range coder. The check value covers the
tables too, so that bytes of another model, or bytes that were cut off, are rejected.
"""

from base64 import b64decode
from binascii import crc_hqx
from functools import lru_cache

import numpy as np

from service.card import Card
from service.codec.range_coder import RangeCoder
from service.errors import InvalidArray, ModelRejected, NotAcceptable, UnsupportedMediaType
from service.runtime.tensors import to_array
from service.types import Array

CHECK_BYTES = 2
"""Bytes of the check value, a CRC-16 (CCITT)."""
MISSING_EXTRA = "this service lacks the package constriction: install its extra bitstream"


def encode_item(code: Array, card: Card) -> bytes:
    """Encode one code, float32 of the shape in the card, as bytes. Numbers beyond the tables are clipped to them.

    Raises NotAcceptable if the package constriction is not installed.
    """
    try:
        coder, check = _coder(card)
    except ImportError as error:
        raise NotAcceptable(f"format: {MISSING_EXTRA}") from error
    symbols = np.clip(np.rint(code.reshape(1, -1)), -coder.max_symbol, coder.max_symbol).astype(np.int32)
    (payload,) = coder.encode(symbols)
    return crc_hqx(payload, check).to_bytes(CHECK_BYTES, "big") + payload


def decode_item(data: bytes, card: Card) -> Array:
    """Decode the bytes of one code; returns float32 (1, *shape of the code).

    Raises InvalidArray if they are not those of a code of this model, and UnsupportedMediaType if the package
    constriction is not installed.
    """
    try:
        coder, check = _coder(card)
    except ImportError as error:
        raise UnsupportedMediaType(MISSING_EXTRA) from error
    if len(data) > CHECK_BYTES + coder.max_bytes:
        raise InvalidArray(
            f"a bitstream of this model has at most {CHECK_BYTES + coder.max_bytes} bytes, and the body has {len(data)}"
        )
    payload = data[CHECK_BYTES:]
    wrong = f"the body is no bitstream of {card.name} {card.version}: it was made by another model, changed or cut off"
    if len(data) < CHECK_BYTES or crc_hqx(payload, check) != int.from_bytes(data[:CHECK_BYTES], "big"):
        raise InvalidArray(wrong)
    try:
        symbols = coder.decode([payload])
    except ValueError as error:
        raise InvalidArray(wrong) from error
    return symbols.astype(np.float32).reshape(1, *(side or 1 for side in card.code.shape))


def check_tables(card: Card) -> None:
    """Raise ModelRejected if the tables of the card are damaged. Without a bitstream in the card do nothing."""
    if card.bitstream is None:
        return
    tables = to_array(card.bitstream.probabilities)
    if not (np.isfinite(tables) & (tables > 0)).all():
        raise ModelRejected("the probabilities of the bitstream must be positive numbers")


def _coder(card: Card) -> tuple[RangeCoder, int]:
    """Return the range coder of a model and the start of its check values. Raises ImportError without constriction."""
    if card.bitstream is None:
        raise ModelRejected("the card has no bitstream")
    tables = card.bitstream.probabilities
    return _cached_coder(tables.data, tables.shape[0])


@lru_cache(maxsize=8)
def _cached_coder(data: str, units: int) -> tuple[RangeCoder, int]:
    tables = np.frombuffer(b64decode(data), np.float32).reshape(units, -1)
    return RangeCoder(tables), crc_hqx(tables.tobytes(), 0)

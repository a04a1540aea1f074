"""Compressed bodies of the Open Inference Protocol: gzip and deflate, with a limit on what comes out."""

import zlib
from typing import Final

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType
from service.http.limits import describe_bytes
from service.oip.requests import Buffer

CHUNK_BYTES = 1 << 18  # inflated at once
LEVEL = 1  # of compression: higher levels cost more time than they save on a fast network
MIN_COMPRESSED_BYTES = 1 << 10  # smaller responses are sent as they are
WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
"""The `wbits` of zlib for each Content-Encoding. `deflate` has the header of zlib (RFC 9110, section 8.4.1.2)."""


def content_encoding(value: bytes | None) -> str:
    """Return the Content-Encoding of a request: gzip, deflate or an empty string. Raises UnsupportedMediaType."""
    if value is None:
        return ""
    encoding = value.strip().lower().decode("latin-1").removeprefix("x-")
    if encoding in ("", "identity"):
        return ""
    if encoding not in WINDOW_BITS:
        raise UnsupportedMediaType(
            "Content-Encoding must be gzip or deflate", headers={"accept-encoding": "gzip, deflate"}
        )
    return encoding


def accepted_encoding(value: bytes | None) -> str:
    """Return the first encoding of Accept-Encoding that is known and not excluded, or an empty string."""
    if value is None:
        return ""
    for item in value.decode("latin-1").lower().split(","):
        name, _, quality = item.partition(";")
        if name.strip() in WINDOW_BITS and quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return name.strip()
    return ""


def decompress(data: Buffer, encoding: str, limit: int) -> bytes:
    """Return a body without its encoding. Raises BodyTooLarge above `limit` bytes, and MalformedBody."""
    chunks: list[bytes] = []
    size = 0
    inflater = zlib.decompressobj(WINDOW_BITS[encoding])
    rest: bytes | memoryview = data
    try:
        while not inflater.eof:
            chunk = inflater.decompress(rest, CHUNK_BYTES)
            rest = inflater.unconsumed_tail
            if not chunk and not rest:
                break
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(describe_bytes(limit, " after decompression"))
            chunks.append(chunk)
    except zlib.error as error:
        raise MalformedBody(f"the body is not valid {encoding}") from error
    if not inflater.eof or inflater.unused_data:
        raise MalformedBody(f"the {encoding} data are cut off, or other bytes follow them")
    return b"".join(chunks)


def compress(data: Buffer, encoding: str) -> bytes:
    """Return a body with an encoding."""
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[encoding])
    return deflater.compress(data) + deflater.flush()

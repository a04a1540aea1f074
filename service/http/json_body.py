"""JSON bodies, read so that none keeps others waiting: a parser holds the interpreter, so it is given little at once.

What could not be lawful is refused by counting, rows are parsed by pieces. Knows schemas, neither pictures nor models.
"""

import re
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.errors import InvalidArray, InvalidImage, MalformedBody, TooManyItems
from service.http.schemas import ImagesBody, Rows, ValuesBody
from service.types import Array

Model = TypeVar("Model", bound=BaseModel)

CHUNK_BYTES = 1 << 15  # bytes of rows that are parsed at once, in a few milliseconds
COUNT_CHUNK_BYTES = 1 << 20  # bytes that are counted at once
NUMBER_BYTES = 64  # bytes of a number with the blanks around it, on average over a row
EDGE_BYTES = 1 << 10  # bytes within which a large body has its head, and its tail
WHITESPACE = rb"[ \t\r\n]*"
IMAGES_PREFIX = re.compile(WHITESPACE.join((b"", rb"\{", b'"images"', b":", rb"\[", b'"')))
VALUES_PREFIX = re.compile(WHITESPACE.join((b"", rb"\{", b'"values"', b":", rb"\[")))
VALUES_SUFFIX = re.compile(WHITESPACE.join((rb"\]", rb"\}", rb"\Z")))

ROWS_ADAPTER: TypeAdapter[Rows] = TypeAdapter(Rows)


def parse_images(data: bytes, most: int) -> list[str]:
    """The texts of an `Images` body. Raises MalformedBody, InvalidImage, or TooManyItems where it has over `most`."""
    commas = 0
    for at in range(0, len(data) if len(data) > CHUNK_BYTES else 0, COUNT_CHUNK_BYTES):
        commas += data.count(b",", at, at + COUNT_CHUNK_BYTES)
        if commas > 2 * most:  # one after each, and one in each that is a data URI
            if IMAGES_PREFIX.match(data, 0, EDGE_BYTES):
                raise TooManyItems(f"a request may have {most} items")
            raise InvalidImage('a large body begins with {"images": ["')
    return _parse_model(ImagesBody, data).images


def parse_values(data: bytes, most: int, numbers: int, rank: int) -> Array:
    """The rows of a `Values` body, float32: each of `rank` sides and `numbers` numbers, or else it may be refused.

    Raises MalformedBody, InvalidArray, or TooManyItems where it has over `most`.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is found by the check for finite numbers
            if len(data) <= CHUNK_BYTES:
                return np.asarray(_parse_model(ValuesBody, data).values, np.float32)
            return np.concatenate(_parse_chunks(data, most, numbers, rank))
    except ValueError as error:
        raise InvalidArray(f"the rows are not all alike; each has {numbers} numbers") from error


def _parse_chunks(data: bytes, most: int, numbers: int, rank: int) -> list[Array]:
    """The rows by pieces of about PIECE bytes."""
    longest = CHUNK_BYTES + NUMBER_BYTES * numbers
    head, tail = VALUES_PREFIX.match(data, 0, EDGE_BYTES), VALUES_SUFFIX.search(data, len(data) - EDGE_BYTES)
    if not head:
        raise InvalidArray('a large body begins with {"values": [')
    if not tail:
        raise MalformedBody("the body is not JSON")
    boundary = re.compile(rb"(?:\]\s*){%d}," % rank)
    at, end, count = head.end(), tail.start(), 0
    found: list[Array] = []
    while True:
        cut = boundary.search(data, min(end, at + CHUNK_BYTES), min(end, at + longest))
        if not cut and end - at > longest:
            if data.count(b",", at, at + longest) < numbers:
                raise MalformedBody("a number has too many digits")
            raise InvalidArray(f"the rows are not all alike; each has {numbers} numbers")
        piece = data[at : cut.end() - 1 if cut else end]
        if count and not piece.strip():
            raise MalformedBody("the body is not JSON")
        rows = _parse_rows(piece, count)
        count += len(rows)
        if count > most:
            raise TooManyItems(f"a request may have {most} items")
        found.append(np.asarray(rows, np.float32))
        if not cut:
            return found
        at = cut.end()


def _parse_rows(piece: bytes, before: int) -> Rows:
    """The rows of a piece; so many were `before` it."""
    try:
        return ROWS_ADAPTER.validate_json(b"[%s]" % piece, strict=True)
    except ValidationError as error:
        raise _to_problem(error, InvalidArray, before) from error


def _parse_model(model: type[Model], data: bytes) -> Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _to_problem(error, InvalidImage if model is ImagesBody else InvalidArray) from error


def _to_problem(
    error: ValidationError, kind: type[InvalidArray | InvalidImage], before: int | None = None
) -> MalformedBody | InvalidArray | InvalidImage:
    """What is wrong first, by its place in the body."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return MalformedBody("the body is not JSON")
    place = first["loc"]
    if before is not None:
        place = ("values", *((before + int(place[0]), *place[1:]) if place else ()))
    named = ".".join(str(part)[:40] for part in place[:4] if "[" not in str(part))  # no type of a union
    return kind(f"{named or 'the body'}: {first['msg']}")

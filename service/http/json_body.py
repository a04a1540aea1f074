"""JSON bodies, read so that none keeps others waiting: a parser holds the interpreter, so it is given little at once.

What could not be lawful is refused by counting, rows are parsed by pieces. Knows schemas, neither pictures nor models.
"""

import re
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.errors import InvalidArray, InvalidImage, MalformedBody, TooManyItems
from service.http.schemas import Images, Rows, Values
from service.types import Array

Model = TypeVar("Model", bound=BaseModel)

PIECE = 1 << 15  # bytes of rows that are parsed at once, in a few milliseconds
SLICE = 1 << 20  # bytes that are counted at once
WIDTH = 64  # bytes of a number with the blanks around it, on average over a row
EDGE = 1 << 10  # bytes within which a large body has its head, and its tail
BLANK = rb"[ \t\r\n]*"
TEXTS = re.compile(BLANK.join((b"", rb"\{", b'"images"', b":", rb"\[", b'"')))
HEAD = re.compile(BLANK.join((b"", rb"\{", b'"values"', b":", rb"\[")))
TAIL = re.compile(BLANK.join((rb"\]", rb"\}", rb"\Z")))

ROWS: TypeAdapter[Rows] = TypeAdapter(Rows)


def read_images(data: bytes, most: int) -> list[str]:
    """The texts of an `Images` body. Raises MalformedBody, InvalidImage, or TooManyItems where it has over `most`."""
    commas = 0
    for at in range(0, len(data) if len(data) > PIECE else 0, SLICE):
        commas += data.count(b",", at, at + SLICE)
        if commas > 2 * most:  # one after each, and one in each that is a data URI
            if TEXTS.match(data, 0, EDGE):
                raise TooManyItems(f"a request may have {most} items")
            raise InvalidImage('a large body begins with {"images": ["')
    return _parse(Images, data).images


def read_values(data: bytes, most: int, numbers: int, rank: int) -> Array:
    """The rows of a `Values` body, float32: each of `rank` sides and `numbers` numbers, or else it may be refused.

    Raises MalformedBody, InvalidArray, or TooManyItems where it has over `most`.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is found by the check for finite numbers
            if len(data) <= PIECE:
                return np.asarray(_parse(Values, data).values, np.float32)
            return np.concatenate(_pieces(data, most, numbers, rank))
    except ValueError as error:
        raise InvalidArray(f"the rows are not all alike; each has {numbers} numbers") from error


def _pieces(data: bytes, most: int, numbers: int, rank: int) -> list[Array]:
    """The rows by pieces of about PIECE bytes."""
    longest = PIECE + WIDTH * numbers
    head, tail = HEAD.match(data, 0, EDGE), TAIL.search(data, len(data) - EDGE)
    if not head:
        raise InvalidArray('a large body begins with {"values": [')
    if not tail:
        raise MalformedBody("the body is not JSON")
    boundary = re.compile(rb"(?:\]\s*){%d}," % rank)
    at, end, count = head.end(), tail.start(), 0
    found: list[Array] = []
    while True:
        cut = boundary.search(data, min(end, at + PIECE), min(end, at + longest))
        if not cut and end - at > longest:
            if data.count(b",", at, at + longest) < numbers:
                raise MalformedBody("a number has too many digits")
            raise InvalidArray(f"the rows are not all alike; each has {numbers} numbers")
        piece = data[at : cut.end() - 1 if cut else end]
        if count and not piece.strip():
            raise MalformedBody("the body is not JSON")
        rows = _rows(piece, count)
        count += len(rows)
        if count > most:
            raise TooManyItems(f"a request may have {most} items")
        found.append(np.asarray(rows, np.float32))
        if not cut:
            return found
        at = cut.end()


def _rows(piece: bytes, before: int) -> Rows:
    """The rows of a piece; so many were `before` it."""
    try:
        return ROWS.validate_json(b"[%s]" % piece, strict=True)
    except ValidationError as error:
        raise _problem(error, InvalidArray, before) from error


def _parse(model: type[Model], data: bytes) -> Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _problem(error, InvalidImage if model is Images else InvalidArray) from error


def _problem(
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

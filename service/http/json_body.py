"""Parsing of JSON bodies in chunks, because the parser holds the interpreter lock while it runs.

Bodies with too many items are rejected by counting commas before they are parsed. Rows are parsed chunk by chunk.
"""

import re
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from service.errors import InvalidArray, InvalidImage, MalformedBody, TooManyItems
from service.http.limits import describe_items
from service.http.parameters import Parameters
from service.http.schemas import ImagesBody, Rows, ValuesBody
from service.types import Array
from service.validation import describe_error, shown

Model = TypeVar("Model", bound=BaseModel)

CHUNK_BYTES = 1 << 15  # bytes of rows parsed at once, which takes a few milliseconds
COUNT_CHUNK_BYTES = 1 << 20  # bytes in which commas are counted at once
NUMBER_BYTES = 64  # longest average text of a number in a row, including whitespace
EDGE_BYTES = 1 << 10  # bytes within which the prefix and the suffix of a large body must lie
WHITESPACE = rb"[ \t\r\n]*"
IMAGES_PREFIX = re.compile(WHITESPACE.join((b"", rb"\{", b'"images"', b":", rb"\[", b'"')))
VALUES_PREFIX = re.compile(WHITESPACE.join((b"", rb"\{", b'"values"', b":", rb"\[")))
VALUES_SUFFIX = re.compile(WHITESPACE.join((rb"\]", rb"\}", rb"\Z")))

FIELD_ERRORS = frozenset({"missing", "extra_forbidden", "model_type"})

ROWS_ADAPTER: TypeAdapter[Rows] = TypeAdapter(Rows)


def parse_images(data: bytes, max_items: int) -> list[str]:
    """Return the base64 texts of an `ImagesBody`. Raises MalformedBody, InvalidImage or TooManyItems."""
    commas = 0
    for at in range(0, len(data) if len(data) > CHUNK_BYTES else 0, COUNT_CHUNK_BYTES):
        commas += data.count(b",", at, at + COUNT_CHUNK_BYTES)
        if commas > 2 * max_items:  # one after each item, and one inside each data URI
            if IMAGES_PREFIX.match(data, 0, EDGE_BYTES):
                raise TooManyItems(describe_items(max_items))
            raise InvalidImage('a large body must begin with {"images": ["')
    return _parse_model(ImagesBody, data).images


def parse_values(data: bytes, max_items: int, numbers: int, rank: int) -> Array:
    """Return the rows of a `ValuesBody` as float32, N first.

    `numbers` and `rank`: count of numbers and of dimensions expected in each row. Raises MalformedBody, InvalidArray
    or TooManyItems.
    """
    try:
        with np.errstate(over="ignore"):  # numbers too large for float32 are rejected later, as not finite
            if len(data) <= CHUNK_BYTES:
                return np.asarray(_parse_model(ValuesBody, data).values, np.float32)
            return np.concatenate(_parse_chunks(data, max_items, numbers, rank))
    except ValueError as error:
        raise InvalidArray(f"all rows must have the same shape, of {numbers} numbers") from error


def _parse_chunks(data: bytes, max_items: int, numbers: int, rank: int) -> list[Array]:
    """Parse rows in chunks of about CHUNK_BYTES, cut at the ends of rows."""
    max_chunk_bytes = CHUNK_BYTES + NUMBER_BYTES * numbers
    prefix, suffix = VALUES_PREFIX.match(data, 0, EDGE_BYTES), VALUES_SUFFIX.search(data, len(data) - EDGE_BYTES)
    if not prefix:
        raise InvalidArray('a large body must begin with {"values": [')
    if not suffix:
        raise MalformedBody("the body is not valid JSON")
    boundary = re.compile(rb"(?:\]\s*){%d}," % rank)
    at, end, count = prefix.end(), suffix.start(), 0
    chunks: list[Array] = []
    while True:
        cut = boundary.search(data, min(end, at + CHUNK_BYTES), min(end, at + max_chunk_bytes))
        if not cut and end - at > max_chunk_bytes:
            if data.count(b",", at, at + max_chunk_bytes) < numbers:
                raise MalformedBody("a number has too many digits")
            raise InvalidArray(f"all rows must have the same shape, of {numbers} numbers")
        chunk = data[at : cut.end() - 1 if cut else end]
        if count and not chunk.strip():
            raise MalformedBody("the body is not valid JSON")
        rows = _parse_rows(chunk, count)
        count += len(rows)
        if count > max_items:
            raise TooManyItems(describe_items(max_items))
        chunks.append(np.asarray(rows, np.float32))
        if not cut:
            return chunks
        at = cut.end()


def _parse_rows(chunk: bytes, first_row: int) -> Rows:
    """Parse the rows of a chunk; `first_row` is the position of its first row in the body, for error messages."""
    try:
        return ROWS_ADAPTER.validate_json(b"[%s]" % chunk, strict=True)
    except ValidationError as error:
        raise _to_problem(error, InvalidArray, first_row) from error


def _parse_model(model: type[Model], data: bytes) -> Model:
    """Validate JSON against a model. Raises MalformedBody, InvalidImage or InvalidArray."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _to_problem(error, InvalidImage if model is ImagesBody else InvalidArray) from error


def _to_problem(
    error: ValidationError, problem_type: type[InvalidArray | InvalidImage], first_row: int | None = None
) -> MalformedBody | InvalidArray | InvalidImage:
    """Return the first validation error as a problem that names its position in the body."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        return MalformedBody("the body is not valid JSON")
    if first_row is None and (wrong := [each for each in errors if each["type"] in FIELD_ERRORS]):
        return problem_type(_describe_fields(wrong, problem_type is InvalidImage))
    location = first["loc"]
    if first_row is not None:
        location = ("values", *((first_row + int(location[0]), *location[1:]) if location else ()))
    path = ".".join(str(part)[:40] for part in location[:4] if "[" not in str(part))  # omits names of union members
    return problem_type(f"{path or 'the body'}: {describe_error(first)}")


def _describe_fields(errors: list[ErrorDetails], images: bool) -> str:
    """Return which fields of a body are wrong, what it must be, and where parameters belong."""
    unknown = [shown(each["loc"][-1]) for each in errors if each["type"] == "extra_forbidden"]
    parameters = [name for name in unknown if name in Parameters.model_fields]
    expected = '{"images": ["BASE64", ...]}' if images else '{"values": [[...], ...]}'
    sent = f"the body has {', '.join(unknown)}, but" if unknown else "the body"
    hint = f"; parameters go in the query string: ?{parameters[0]}=..." if parameters else ""
    return f"{sent} must be {expected}{hint}"

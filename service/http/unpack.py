"""Unpacks request bodies by Content-Type into encoded images or an array. Decodes no pixels."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

import pybase64
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service import codec
from service.card import Card, ImageInput, Operation
from service.errors import InvalidArray, InvalidImage, MalformedBody, Problem, TooManyItems, UnsupportedMediaType
from service.http.array_checks import expected_shape, validate_array
from service.http.json_body import parse_images, parse_values
from service.types import Array

JSON, NPY = "application/json", "application/x-npy"


GENERIC_TYPES = (
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
)  # the last is curl's, told nothing


PARSE_CHUNK_BYTES = 1 << 20  # bytes of a form that are parsed at once


DEFAULT_CODE_SIDE = 1024  # of a code whose sides depend on the picture: how long a row's text may be, goes by that


# What came: one raw picture, pictures in a form or in JSON, an array in JSON, an array as .npy.
BodyKind = Literal["picture", "many", "values", "npy"]


@dataclass(slots=True)
class RawBody:
    """A body unpacked from its transport: encoded pictures in order (or what is wrong with them), or one array."""

    kind: BodyKind
    blobs: list[bytes | Problem] = field(default_factory=list[bytes | Problem])
    array: Array | None = None

    def __len__(self) -> int:
        return len(self.blobs) if self.array is None else len(self.array)


def unpack(data: bytes, content_type: str, card: Card, operation: Operation, max_items: int) -> RawBody:
    """The body by its Content-Type, checked against what the model takes. Raises a 4xx Problem."""
    media = content_type.partition(";")[0].strip().lower()
    if "," in media or (content_type and not media):
        raise UnsupportedMediaType("send one Content-Type")
    pictures = isinstance(card.input, ImageInput) and operation != "decode"
    if not data:
        raise InvalidImage("the body is empty") if pictures else InvalidArray("the body is empty")
    if media == NPY:
        body = RawBody("npy", array=validate_array(codec.read_npy(data), card, operation))
    elif media == JSON:
        if pictures:
            body = RawBody("many", [_decode_base64(text) for text in parse_images(data, max_items)])
        else:
            body = RawBody("values", array=_parse_json_values(data, card, operation, max_items))
    elif pictures and media == "multipart/form-data":
        body = _parse_multipart(data, content_type, max_items)
    elif pictures and (media.startswith("image/") or media in GENERIC_TYPES):
        body = RawBody("picture", [data])
    else:
        taken = "image/*, multipart/form-data, " if pictures else ""
        raise UnsupportedMediaType(f"send {taken}{JSON} or {NPY}")
    if len(body) > max_items:
        raise TooManyItems(f"a request may have {max_items} items")
    return body


def _parse_multipart(data: bytes, content_type: str, max_items: int) -> RawBody:
    blobs: list[bytes | Problem] = []
    try:
        _, options = parse_options_header(content_type)
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=max_items + 16, strict=True) as parser:
            chunks: list[bytes] = []
            ours = False
            for at in range(0, len(data), PARSE_CHUNK_BYTES):
                for event in parser.parse(data[at : at + PARSE_CHUNK_BYTES]):
                    if isinstance(event, MultipartSegment):
                        ours, chunks = event.name == "image", []
                    elif event is not None:
                        chunks.append(bytes(event))
                    elif ours:
                        blobs.append(b"".join(chunks))
    except (MultipartError, UnicodeError) as error:
        alone = error.with_traceback(None)  # the parser keeps it, and a frame of the trace the parser
        raise MalformedBody("the multipart body is broken, cut off, or has too many parts") from alone
    if not blobs:
        raise InvalidImage("there is no part named image")
    return RawBody("many", blobs)


def _decode_base64(text: str) -> bytes | Problem:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return InvalidImage("a data URI must be base64")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return InvalidImage("the picture is not base64")


def _parse_json_values(data: bytes, card: Card, operation: Operation, max_items: int) -> Array:
    sides = expected_shape(card, operation)
    array = parse_values(data, max_items, prod(side or DEFAULT_CODE_SIDE for side in sides), len(sides))
    return validate_array(array, card, operation)

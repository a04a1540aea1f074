"""Unpacks request bodies by Content-Type into encoded images or an array. Decodes no pixels."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

import pybase64
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service import codec
from service.card import Card, ImageInput, Operation
from service.errors import InvalidArray, InvalidImage, MalformedBody, Problem, TooManyItems, UnsupportedMediaType
from service.http.array_checks import checked, sides_of
from service.http.json_body import read_images, read_values
from service.types import Array

JSON, NPY = "application/json", "application/x-npy"


UNTOLD = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # the last is curl's, told nothing


SLICE = 1 << 20  # bytes of a form that are parsed at once


UNKNOWN_SIDE = 1024  # of a code whose sides depend on the picture: how long a row's text may be, goes by that


# What came: one raw picture, pictures in a form or in JSON, an array in JSON, an array as .npy.
Origin = Literal["picture", "many", "values", "npy"]


@dataclass(slots=True)
class Body:
    """A body unpacked from its transport: encoded pictures in order (or what is wrong with them), or one array."""

    origin: Origin
    blobs: list[bytes | Problem] = field(default_factory=list[bytes | Problem])
    array: Array | None = None

    def __len__(self) -> int:
        return len(self.blobs) if self.array is None else len(self.array)


def unpack(data: bytes, content_type: str, card: Card, operation: Operation, max_items: int) -> Body:
    """The body by its Content-Type, checked against what the model takes. Raises a 4xx Problem."""
    media = content_type.partition(";")[0].strip().lower()
    if "," in media or (content_type and not media):
        raise UnsupportedMediaType("send one Content-Type")
    pictures = isinstance(card.input, ImageInput) and operation != "decode"
    if not data:
        raise InvalidImage("the body is empty") if pictures else InvalidArray("the body is empty")
    if media == NPY:
        body = Body("npy", array=checked(codec.read_npy(data), card, operation))
    elif media == JSON:
        if pictures:
            body = Body("many", [_unbase64(text) for text in read_images(data, max_items)])
        else:
            body = Body("values", array=_json_values(data, card, operation, max_items))
    elif pictures and media == "multipart/form-data":
        body = _multipart(data, content_type, max_items)
    elif pictures and (media.startswith("image/") or media in UNTOLD):
        body = Body("picture", [data])
    else:
        taken = "image/*, multipart/form-data, " if pictures else ""
        raise UnsupportedMediaType(f"send {taken}{JSON} or {NPY}")
    if len(body) > max_items:
        raise TooManyItems(f"a request may have {max_items} items")
    return body


def _multipart(data: bytes, content_type: str, max_items: int) -> Body:
    blobs: list[bytes | Problem] = []
    try:
        _, options = parse_options_header(content_type)
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=max_items + 16, strict=True) as parser:
            chunks: list[bytes] = []
            ours = False
            for at in range(0, len(data), SLICE):
                for event in parser.parse(data[at : at + SLICE]):
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
    return Body("many", blobs)


def _unbase64(text: str) -> bytes | Problem:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return InvalidImage("a data URI must be base64")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return InvalidImage("the picture is not base64")


def _json_values(data: bytes, card: Card, operation: Operation, max_items: int) -> Array:
    sides = sides_of(card, operation)
    array = read_values(data, max_items, prod(side or UNKNOWN_SIDE for side in sides), len(sides))
    return checked(array, card, operation)

"""What a caller may send and get: body in by Content-Type, type of the answer by Accept. Decodes no pixels."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, Literal

import pybase64
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from numpy.typing import NDArray

from service import codec
from service.arrays import checked, sides_of
from service.card import Card, ImageInput, Operation
from service.errors import (
    InvalidArray,
    InvalidImage,
    InvalidParameter,
    MalformedBody,
    NotAcceptable,
    Problem,
    TooManyItems,
    UnsupportedMediaType,
)
from service.jsonbody import read_images, read_values

Array = NDArray[Any]

JSON, NPY = "application/json", "application/x-npy"
UNTOLD = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # the last is curl's, told nothing
SLICE = 1 << 20  # bytes of a form that are parsed at once
UNKNOWN_SIDE = 1024  # of a code whose sides depend on the picture: how long a row's text may be, goes by that
NAMES = {"json": JSON, "npy": NPY, "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


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


@lru_cache(maxsize=64)
def answer_type(pictures: bool, origin: Origin, many: bool, came_as: str, accept: str, name: str) -> str:
    """The type to answer with: `format=` beats Accept, q-values beat our own order. Raises NotAcceptable.

    `pictures`: whether the model answers in pictures; `came_as`: the type of an answered picture by default.
    """
    types = offered(pictures, origin, many, came_as)
    if name:
        if name not in NAMES:
            raise InvalidParameter(f"format is one of {', '.join(NAMES)}")
        accept = NAMES[name]
    elif not accept:
        return types[0]
    ranges = [("", 0.0), *(_range(part) for part in accept.split(",")[:64])]
    best, best_q = "", 0.0
    for kind in types:
        _, q = max((rank, q) for pattern, q in ranges if (rank := _match(pattern, kind)) or not pattern)
        if q > best_q:
            best, best_q = kind, q
    if not best:
        raise NotAcceptable(f"this answer can be {', '.join(types)}")
    return best


def offered(pictures: bool, origin: Origin, many: bool, came_as: str) -> list[str]:
    """The types an answer can have, the default first."""
    arrays = [NPY, JSON] if origin == "npy" else [JSON, NPY]
    if not pictures or many:
        return arrays
    images = [came_as, *(kind for kind in codec.WRITTEN if kind != came_as)]
    return images + arrays if origin in ("picture", "values") else arrays + images


def _range(part: str) -> tuple[str, float]:
    pattern, *options = (piece.strip().lower() for piece in part.split(";"))
    for option in options:
        if option.startswith("q="):
            try:
                return pattern, min(1.0, max(0.0, float(option[2:])))
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0


def _match(pattern: str, kind: str) -> int:
    """How specifically an Accept range names a type: 3 whole, 2 its family, 1 anything, 0 not at all."""
    if pattern == kind:
        return 3
    if pattern.endswith("/*") and kind.startswith(pattern[:-1]):
        return 2
    return 1 if pattern == "*/*" else 0

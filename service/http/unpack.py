"""Unpack request bodies by Content-Type into encoded images or an array. No pixels are decoded here."""

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

GENERIC_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content-Types that say nothing about the body, and are taken as an image. The last one is curl's default."""

PARSE_CHUNK_BYTES = 1 << 20  # bytes of a form that are parsed at once
DEFAULT_CODE_SIDE = 1024  # assumed side of a code whose shape depends on the image; bounds the text of one row

# One raw image; images in a form or in JSON; an array in JSON; an array as .npy.
BodyKind = Literal["picture", "many", "values", "npy"]


@dataclass(slots=True)
class RawBody:
    """An unpacked body: encoded images in order, each possibly replaced by its problem, or one array."""

    kind: BodyKind
    blobs: list[bytes | Problem] = field(default_factory=list[bytes | Problem])
    array: Array | None = None

    def __len__(self) -> int:
        return len(self.blobs) if self.array is None else len(self.array)


def unpack(data: bytes, content_type: str, card: Card, operation: Operation, max_items: int) -> RawBody:
    """Unpack a body by its Content-Type and check it against the input of the model. Raises a 4xx Problem."""
    media_type = content_type.partition(";")[0].strip().lower()
    if "," in media_type or (content_type and not media_type):
        raise UnsupportedMediaType("send exactly one Content-Type")
    images = isinstance(card.input, ImageInput) and operation != "decode"
    if not data:
        raise InvalidImage("the body is empty") if images else InvalidArray("the body is empty")
    if media_type == NPY:
        body = RawBody("npy", array=validate_array(codec.read_npy(data), card, operation))
    elif media_type == JSON:
        if images:
            body = RawBody("many", [_decode_base64(text) for text in parse_images(data, max_items)])
        else:
            body = RawBody("values", array=_parse_json_values(data, card, operation, max_items))
    elif images and media_type == "multipart/form-data":
        body = _parse_multipart(data, content_type, max_items)
    elif images and (media_type.startswith("image/") or media_type in GENERIC_TYPES):
        body = RawBody("picture", [data])
    else:
        image_types = "image/*, multipart/form-data, " if images else ""
        raise UnsupportedMediaType(f"send {image_types}{JSON} or {NPY}")
    if len(body) > max_items:
        raise TooManyItems(f"a request may have at most {max_items} items")
    return body


def _parse_multipart(data: bytes, content_type: str, max_items: int) -> RawBody:
    """Return the contents of all parts named `image`. Raises MalformedBody, or InvalidImage if there is none."""
    blobs: list[bytes | Problem] = []
    try:
        _, options = parse_options_header(content_type)
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=max_items + 16, strict=True) as parser:
            chunks: list[bytes] = []
            is_image = False
            for at in range(0, len(data), PARSE_CHUNK_BYTES):
                for event in parser.parse(data[at : at + PARSE_CHUNK_BYTES]):
                    if isinstance(event, MultipartSegment):
                        is_image, chunks = event.name == "image", []
                    elif event is not None:
                        chunks.append(bytes(event))
                    elif is_image:
                        blobs.append(b"".join(chunks))
    except (MultipartError, UnicodeError) as error:
        cause = error.with_traceback(None)  # avoid a cycle: the parser keeps the error, and its traceback the parser
        raise MalformedBody("the multipart body is malformed, truncated or has too many parts") from cause
    if not blobs:
        raise InvalidImage("the form has no part named image; name the file field image")
    return RawBody("many", blobs)


def _decode_base64(text: str) -> bytes | Problem:
    """Decode base64 or a data URI. Return a problem if the text is neither."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return InvalidImage("a data URI must contain base64: data:image/png;base64,...")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return InvalidImage("the image is not valid base64")


def _parse_json_values(data: bytes, card: Card, operation: Operation, max_items: int) -> Array:
    shape = expected_shape(card, operation)
    array = parse_values(data, max_items, prod(side or DEFAULT_CODE_SIDE for side in shape), len(shape))
    return validate_array(array, card, operation)

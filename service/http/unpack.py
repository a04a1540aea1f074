"""Unpack request bodies by Content-Type into encoded images or an array. No pixels are decoded here."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from service import codec
from service.card import Card, ImageInput, Operation
from service.engine import bitstream
from service.engine.array_checks import expected_shape, validate_array
from service.errors import InvalidArray, InvalidImage, Problem, TooManyItems, UnsupportedMediaType
from service.http.base64_text import decode_text
from service.http.forms import Form
from service.http.gateways import undo_base64
from service.http.json_body import parse_images, parse_values
from service.http.limits import describe_items
from service.http.media_types import BITSTREAM, GENERIC_TYPES, JSON, MULTIPART, NPY
from service.types import Array

BINARY_STARTS = b"\x89\xff\x93"  # first bytes of PNG, JPEG and npy, with which no text begins
DEFAULT_CODE_SIDE = 1024  # assumed side of a code whose shape depends on the image; limits the length of one row

BodyKind = Literal["picture", "pictures", "values", "npy"]
"""One encoded picture; encoded pictures in a form or in JSON; an array in JSON; an array as .npy."""


@dataclass(slots=True)
class RawBody:
    """An unpacked body: encoded images in order, each possibly replaced by its problem, or one array."""

    kind: BodyKind
    blobs: list[bytes | Problem] = field(default_factory=list[bytes | Problem])
    array: Array | None = None

    def __len__(self) -> int:
        return len(self.blobs) if self.array is None else len(self.array)


def unpack(body: bytes | Form, media_type: str, card: Card, operation: Operation, max_items: int) -> RawBody:
    """Unpack a body by its media type and check it against the input of the model. Raises a 4xx Problem."""
    images = isinstance(card.input, ImageInput) and operation != "decode"
    if isinstance(body, Form):
        if not images:
            raise _unsupported_media_type(images, card, operation)
        return RawBody("pictures", body.images)
    if not body:
        raise InvalidImage("the body is empty") if images else InvalidArray("the body is empty")
    raw = _unpack_bytes(body, media_type, card, operation, max_items)
    if len(raw) > max_items:
        raise TooManyItems(describe_items(max_items))
    return raw


def _unpack_bytes(data: bytes, media_type: str, card: Card, operation: Operation, max_items: int) -> RawBody:
    images = isinstance(card.input, ImageInput) and operation != "decode"
    if media_type == BITSTREAM and operation == "decode":
        if card.bitstream is None:
            raise UnsupportedMediaType(f"{card.name} has no bitstreams: its codes are not whole numbers; send {JSON}")
        return RawBody("values", array=bitstream.decode_item(data, card))
    if data[0] not in BINARY_STARTS and media_type != MULTIPART:
        decoded = undo_base64(data, media_type)
        if decoded is not data and media_type not in (JSON, NPY):
            media_type = ""  # such as text/plain: the content is an image
        data = decoded
    if media_type == NPY:
        return RawBody("npy", array=validate_array(codec.read_npy(data), card, operation))
    if media_type == JSON:
        if images:
            return RawBody("pictures", [_decode_base64(text) for text in parse_images(data, max_items)])
        return RawBody("values", array=_parse_json_values(data, card, operation, max_items))
    if images and (media_type.startswith("image/") or media_type in GENERIC_TYPES):
        return RawBody("picture", [data])
    raise _unsupported_media_type(images, card, operation)


def _unsupported_media_type(images: bool, card: Card, operation: Operation) -> UnsupportedMediaType:
    types = f"image/*, {MULTIPART}, " if images else ""
    types += f"{BITSTREAM}, " if operation == "decode" and card.bitstream else ""
    return UnsupportedMediaType(f"send {types}{JSON} or {NPY}")


def _decode_base64(text: str) -> bytes | Problem:
    """Decode base64 or a data URI. Return a problem if the text is neither."""
    try:
        return decode_text(text)
    except InvalidImage as problem:
        return problem.without_traceback()


def _parse_json_values(data: bytes, card: Card, operation: Operation, max_items: int) -> Array:
    shape = expected_shape(card, operation)
    array = parse_values(data, max_items, prod(side or DEFAULT_CODE_SIDE for side in shape), len(shape))
    return validate_array(array, card, operation)

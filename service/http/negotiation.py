"""Content negotiation: the media type of a response, from `format=`, Accept and the kind of request."""

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from service import codec
from service.card import Card, ImageInput
from service.errors import InvalidParameter, NotAcceptable
from service.http.media_types import BITSTREAM, JSON, NPY, normalize
from service.http.parameters import FORMAT_TYPES, Format, MapKind
from service.http.unpack import BodyKind


class NegotiationInput(NamedTuple):
    """What the media type of a response depends on. A named tuple, because its hash is the fastest cache key.

    `images`: whether the model returns images. `many`: whether the request has several items. `image_type`: default
    media type of a returned image. `accept`: value of the Accept header. `format`: value of the `format` parameter.
    `too_small`: media types that cannot hold an image as large as the response. `bitstream`: whether the response
    is a code for which the model has an entropy coder.
    """

    images: bool
    body_kind: BodyKind
    many: bool
    image_type: str
    accept: str = ""
    format: Format | None = None
    too_small: tuple[str, ...] = ()
    bitstream: bool = False


@lru_cache(maxsize=64)
def response_type(answer: NegotiationInput) -> str:
    """Choose the media type of a response: `format=` overrides Accept, and q-values override the default order.

    Raises NotAcceptable, which names the available types.
    """
    types = available_types(answer)
    accept = FORMAT_TYPES[answer.format] if answer.format else answer.accept
    if not accept:
        return types[0]
    ranges = [("", 0.0), *(_parse_range(part) for part in accept.split(",")[:64])]
    best, best_q = "", 0.0
    for media_type in types:
        _, q = max((rank, q) for pattern, q in ranges if (rank := _specificity(pattern, media_type)) or not pattern)
        if q > best_q:
            best, best_q = media_type, q
    if not best:
        limits = [codec.describe_limit(media_type) for media_type in answer.too_small if media_type in accept.lower()]
        if limits and answer.images:
            cause = f"the response is too large: {' and '.join(limits)}"
        elif answer.format == "bitstream":
            cause = "format: a bitstream is the answer of encode to one item, by a model whose codes are whole numbers"
        elif answer.format:
            cause = f"format: {answer.format} is not available here"
        else:
            cause = "Accept has no available type"
        raise NotAcceptable(f"{cause}; accept one of {', '.join(types)}")
    return best


def available_types(answer: NegotiationInput) -> list[str]:
    """Return the media types that a response can have, the default first."""
    arrays = [NPY, JSON] if answer.body_kind == "npy" else [JSON, NPY]
    if answer.bitstream and not answer.many:
        return [*arrays, BITSTREAM]
    if not answer.images or answer.many:
        return arrays
    images = [answer.image_type, *(name for name in codec.ENCODABLE if name != answer.image_type)]
    images = [media_type for media_type in images if media_type not in answer.too_small]
    return images + arrays if answer.body_kind in ("picture", "values") else arrays + images


def check_quality(media_type: str, image_types: Collection[str]) -> None:
    """Raise InvalidParameter if `quality` has no effect: the response contains no JPEG or WebP image.

    `image_types` are the media types of the images in a JSON response.
    """
    types = image_types if media_type == JSON else (media_type,)
    if not any(one in codec.LOSSY for one in types):
        raise InvalidParameter(
            f"quality: applies to JPEG and WebP images, and the response would be {media_type} without any; "
            "choose such a format by format= or Accept, or omit quality"
        )


def check_metadata(media_type: str, *, has_image: bool) -> None:
    """Raise InvalidParameter if `metadata` has no effect: no image file is sent, or none is answered.

    `has_image` says whether an image file was sent and the model returns images.
    """
    if not has_image or media_type == NPY:
        cause = f"the response would be {media_type}" if has_image else "this request has no image file"
        raise InvalidParameter(f"metadata: applies to image files that are answered as images, and {cause}; omit it")


def check_map(kind: MapKind | None, media_type: str, card: Card) -> None:
    """Raise InvalidParameter if a response of this type cannot carry a map of this kind, or of this model."""
    if kind is None:
        return
    if not isinstance(card.input, ImageInput) and media_type != JSON:
        raise InvalidParameter(
            "map: the columns that an error comes from are part of JSON responses; choose format=json"
        )
    if kind == "gray" and media_type in codec.LOSSY:
        raise InvalidParameter("map: gray has 16 bits, which only PNG, npy and JSON responses hold; choose format=png")


def _parse_range(part: str) -> tuple[str, float]:
    """Parse one media range of an Accept header into its pattern and q-value (0..1)."""
    name, *options = (piece.strip().lower() for piece in part.split(";"))
    pattern = normalize(name)
    for option in options:
        if option.startswith("q="):
            try:
                return pattern, min(1.0, max(0.0, float(option[2:])))
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0


def _specificity(pattern: str, media_type: str) -> int:
    """Return how specifically a media range matches a type: 3 exactly, 2 its family, 1 `*/*`, 0 not at all."""
    if pattern == media_type:
        return 3
    if pattern.endswith("/*") and media_type.startswith(pattern[:-1]):
        return 2
    return 1 if pattern == "*/*" else 0

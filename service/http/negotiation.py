"""What a caller may send and get: body in by Content-Type, type of the answer by Accept. Decodes no pixels."""

from functools import lru_cache

from service import codec
from service.errors import (
    InvalidParameter,
    NotAcceptable,
)
from service.http.unpack import JSON, NPY, BodyKind

FORMAT_TYPES = {"json": JSON, "npy": NPY, "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@lru_cache(maxsize=64)
def response_type(pictures: bool, body_kind: BodyKind, many: bool, input_type: str, accept: str, name: str) -> str:
    """The type to answer with: `format=` beats Accept, q-values beat our own order. Raises NotAcceptable.

    `pictures`: whether the model answers in pictures; `came_as`: the type of an answered picture by default.
    """
    types = available_types(pictures, body_kind, many, input_type)
    if name:
        if name not in FORMAT_TYPES:
            raise InvalidParameter(f"format is one of {', '.join(FORMAT_TYPES)}")
        accept = FORMAT_TYPES[name]
    elif not accept:
        return types[0]
    ranges = [("", 0.0), *(_parse_range(part) for part in accept.split(",")[:64])]
    best, best_q = "", 0.0
    for media_type in types:
        _, q = max((rank, q) for pattern, q in ranges if (rank := _specificity(pattern, media_type)) or not pattern)
        if q > best_q:
            best, best_q = media_type, q
    if not best:
        raise NotAcceptable(f"this answer can be {', '.join(types)}")
    return best


def available_types(pictures: bool, body_kind: BodyKind, many: bool, input_type: str) -> list[str]:
    """The types an answer can have, the default first."""
    arrays = [NPY, JSON] if body_kind == "npy" else [JSON, NPY]
    if not pictures or many:
        return arrays
    images = [input_type, *(kind for kind in codec.ENCODABLE if kind != input_type)]
    return images + arrays if body_kind in ("picture", "values") else arrays + images


def _parse_range(part: str) -> tuple[str, float]:
    pattern, *options = (piece.strip().lower() for piece in part.split(";"))
    for option in options:
        if option.startswith("q="):
            try:
                return pattern, min(1.0, max(0.0, float(option[2:])))
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0


def _specificity(pattern: str, media_type: str) -> int:
    """How specifically an Accept range names a type: 3 whole, 2 its family, 1 anything, 0 not at all."""
    if pattern == media_type:
        return 3
    if pattern.endswith("/*") and media_type.startswith(pattern[:-1]):
        return 2
    return 1 if pattern == "*/*" else 0

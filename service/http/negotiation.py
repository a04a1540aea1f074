"""What a caller may send and get: body in by Content-Type, type of the answer by Accept. Decodes no pixels."""

from functools import lru_cache

from service import codec
from service.errors import (
    InvalidParameter,
    NotAcceptable,
)
from service.http.unpack import JSON, NPY, Origin

NAMES = {"json": JSON, "npy": NPY, "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


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

"""What a request asks for, by its query and its head. Knows parameters and their limits; not what is done with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Literal, get_args
from urllib.parse import parse_qsl

from starlette.types import Scope

from service.card import Operation
from service.errors import InvalidParameter, MethodNotAllowed, UnsupportedMediaType

SHORT_HEAD = 512  # bytes of query, Accept and Content-Type that are remembered with what they say
TAKEN = ("model", "version", "format")
OF_DENOISE = ("strength", "grey", "metadata")
Metadata = Literal["keep", "strip"]


@dataclass(frozen=True, slots=True)
class Wish:
    """`strength`: share of the cleaned picture in the answer, the rest is the picture that came; `grey`: make it grey
    first; `metadata`: what becomes of EXIF, where the request says.
    """

    model: str = ""
    version: int | None = None
    format: str = ""
    accept: str = ""
    content_type: str = ""
    strength: float = 1.0
    grey: bool = False
    metadata: Metadata | None = None


def wish_of(scope: Scope, headers: Mapping[bytes, bytes], operation: Operation) -> Wish:
    """The wish of a request. Raises MethodNotAllowed, InvalidParameter or UnsupportedMediaType."""
    if scope["method"] != "POST":
        raise MethodNotAllowed("send POST", headers={"allow": "POST"})
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")
    query, accept, content_type = scope["query_string"], headers.get(b"accept", b""), headers.get(b"content-type", b"")
    short = len(query) + len(accept) + len(content_type) <= SHORT_HEAD
    return (remembered if short else read_wish)(query, accept, content_type, operation)


def read_wish(query: bytes, accept: bytes, content_type: bytes, operation: Operation) -> Wish:
    """What the head says. Raises InvalidParameter on parameters that are unknown, repeated or out of range."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise InvalidParameter("the query string is malformed") from error
    found, taken = dict(pairs), TAKEN + (OF_DENOISE if operation == "denoise" else ())
    if len(found) < len(pairs) or not found.keys() <= set(taken):
        raise InvalidParameter(f"the query of /{operation} takes {', '.join(taken)}, each once")
    version = found.get("version", "")
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
        raise InvalidParameter("version is a positive integer")
    return Wish(
        model=found.get("model", ""),
        version=int(version) if version else None,
        format=found.get("format", ""),
        accept=accept.decode("latin-1"),
        content_type=content_type.decode("latin-1"),
        strength=_strength(found.get("strength", "1")),
        grey=_grey(found.get("grey", "false")),
        metadata=_metadata(found.get("metadata")),
    )


remembered = lru_cache(maxsize=256)(read_wish)


def timeout_of(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that the caller will wait (`X-Request-Timeout`), if it says so. Raises InvalidParameter."""
    text = headers.get(b"x-request-timeout")
    if text is None:
        return None
    try:
        seconds = float(text) if len(text) < 32 else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise InvalidParameter("X-Request-Timeout is a number of seconds, more than none")
    return seconds


def _strength(text: str) -> float:
    try:
        strength = float(text) if len(text) < 32 else -1.0
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= 1:
        raise InvalidParameter("strength is a number from 0 (the picture as it came) to 1 (wholly cleaned)")
    return strength


def _grey(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidParameter("grey is true or false")
    return text == "true"


def _metadata(text: str | None) -> Metadata | None:
    for policy in get_args(Metadata):
        if text == policy:
            return policy
    if text is None:
        return None
    raise InvalidParameter(f"metadata is {' or '.join(get_args(Metadata))}")

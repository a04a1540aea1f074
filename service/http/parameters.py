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

CACHEABLE_BYTES = 512  # bytes of query, Accept and Content-Type that are remembered with what they say
COMMON = ("model", "version", "format")
DENOISE_ONLY = ("strength", "grayscale", "metadata")
MetadataPolicy = Literal["keep", "strip"]


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """Parameters of a request, from its query and headers.

    `strength`: weight of the denoised image, 0..1; the rest is the input. `grayscale`: convert the input first.
    `metadata`: overrides the setting of that name.
    """

    model: str = ""
    version: int | None = None
    format: str = ""
    accept: str = ""
    content_type: str = ""
    strength: float = 1.0
    grayscale: bool = False
    metadata: MetadataPolicy | None = None


def parse_request(scope: Scope, headers: Mapping[bytes, bytes], operation: Operation) -> RequestParameters:
    """The wish of a request. Raises MethodNotAllowed, InvalidParameter or UnsupportedMediaType."""
    if scope["method"] != "POST":
        raise MethodNotAllowed("send POST", headers={"allow": "POST"})
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")
    query, accept, content_type = scope["query_string"], headers.get(b"accept", b""), headers.get(b"content-type", b"")
    short = len(query) + len(accept) + len(content_type) <= CACHEABLE_BYTES
    return (parse_query_cached if short else parse_query)(query, accept, content_type, operation)


def parse_query(query: bytes, accept: bytes, content_type: bytes, operation: Operation) -> RequestParameters:
    """What the head says. Raises InvalidParameter on parameters that are unknown, repeated or out of range."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise InvalidParameter("the query string is malformed") from error
    found, taken = dict(pairs), COMMON + (DENOISE_ONLY if operation == "denoise" else ())
    if len(found) < len(pairs) or not found.keys() <= set(taken):
        raise InvalidParameter(f"the query of /{operation} takes {', '.join(taken)}, each once")
    version = found.get("version", "")
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
        raise InvalidParameter("version is a positive integer")
    return RequestParameters(
        model=found.get("model", ""),
        version=int(version) if version else None,
        format=found.get("format", ""),
        accept=accept.decode("latin-1"),
        content_type=content_type.decode("latin-1"),
        strength=_parse_strength(found.get("strength", "1")),
        grayscale=_parse_grayscale(found.get("grayscale", "false")),
        metadata=_parse_metadata(found.get("metadata")),
    )


parse_query_cached = lru_cache(maxsize=256)(parse_query)


def client_timeout(headers: Mapping[bytes, bytes]) -> float | None:
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


def _parse_strength(text: str) -> float:
    try:
        strength = float(text) if len(text) < 32 else -1.0
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= 1:
        raise InvalidParameter("strength is a number from 0 (the picture as it came) to 1 (wholly cleaned)")
    return strength


def _parse_grayscale(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidParameter("grayscale is true or false")
    return text == "true"


def _parse_metadata(text: str | None) -> MetadataPolicy | None:
    for policy in get_args(MetadataPolicy):
        if text == policy:
            return policy
    if text is None:
        return None
    raise InvalidParameter(f"metadata is {' or '.join(get_args(MetadataPolicy))}")

"""Parameters of a request, from its query string and headers.

The model `Parameters` states each query parameter once. Parsing, the OpenAPI document and error messages follow.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from math import inf
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.types import Scope

from service.card import Operation
from service.errors import InvalidParameter, MethodNotAllowed, UnsupportedMediaType

MAX_FIELDS = 16  # of a query string
CACHEABLE_BYTES = 512  # total length of query, Accept and Content-Type up to which a parse is cached
SUGGESTION_CUTOFF = 0.45  # similarity (0..1) from which a valid name is suggested for an unknown one
TIMEOUT_HEADER = "X-Request-Timeout"
TIMEOUT_DESCRIPTION = "seconds after which the client stops waiting"

TruncatedPolicy = Literal["allow", "reject"]
MetadataPolicy = Literal["keep", "strip"]
Format = Literal["json", "npy", "png", "jpeg", "webp"]


def _empty_to_none(value: object) -> object:
    return None if value == "" else value


def _parse_version(value: object) -> object:
    """Accept decimal digits only: neither signs nor fractions nor blanks, which pydantic would accept."""
    if value == "":
        return None
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value)):
        raise PydanticCustomError("version", "must be a positive integer of at most nine digits")
    return value


def _parse_integer(value: object) -> object:
    """Accept decimal digits only: neither signs nor fractions nor blanks, which pydantic would accept."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise PydanticCustomError("integer", "must be an integer")
    return value


def _parse_boolean(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("boolean", "must be true or false")
    return value


class Parameters(BaseModel):
    """Query parameters of the operations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", description="name of the model, see GET /models; default: the operation's default")
    version: Annotated[int | None, Field(ge=1, le=999_999_999), BeforeValidator(_parse_version)] = Field(
        default=None, description="version of the model; default: the highest valid one"
    )
    format: Annotated[Format | None, BeforeValidator(_empty_to_none)] = Field(
        default=None, description="type of the response; overrides Accept"
    )
    strength: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="weight of the denoised image, from 0 (input unchanged) to 1 (fully denoised)",
    )
    grayscale: Annotated[bool, BeforeValidator(_parse_boolean)] = Field(
        default=False, description="convert the image to grayscale before denoising"
    )
    truncated: TruncatedPolicy | None = Field(
        default=None, description="allow or reject images of which a part is missing; default: reject"
    )
    quality: Annotated[int | None, Field(ge=1, le=100), BeforeValidator(_parse_integer)] = Field(
        default=None,
        description="quality of a JPEG or WebP response; default: that of the JPEG sent, or of the settings",
    )
    metadata: MetadataPolicy | None = Field(
        default=None, description="keep or strip EXIF metadata; default: the setting of the service"
    )


COMMON = ("model", "version", "format")
IMAGE_INPUT_ONLY = ("truncated",)
IMAGE_OUTPUT_ONLY = ("quality",)
DENOISE_ONLY = ("strength", "grayscale", "metadata")


class RequestParameters(Parameters):
    """Query parameters together with the Accept and Content-Type headers."""

    accept: str = ""
    content_type: str = ""


def parameter_names(operation: Operation) -> tuple[str, ...]:
    """Return the names of the query parameters of an operation."""
    names = COMMON if operation == "decode" else COMMON + IMAGE_INPUT_ONLY
    names = names if operation == "encode" else names + IMAGE_OUTPUT_ONLY
    return names + DENOISE_ONLY if operation == "denoise" else names


def parameter_documents(operation: Operation) -> list[dict[str, Any]]:
    """Return the OpenAPI parameter objects of an operation, including the timeout header."""
    properties = Parameters.model_json_schema()["properties"]
    documents: list[dict[str, Any]] = []
    for name in parameter_names(operation):
        schema = dict(properties[name])
        description = schema.pop("description")
        for alternative in schema.pop("anyOf", ()):  # an optional parameter: a type or null
            if alternative != {"type": "null"}:
                schema.update(alternative)
        if schema.get("default") in (None, ""):
            schema.pop("default", None)
        schema.pop("title")
        documents.append({"name": name, "in": "query", "schema": schema, "description": description})
    timeout = {"type": "number", "exclusiveMinimum": 0}
    documents.append({"name": TIMEOUT_HEADER, "in": "header", "schema": timeout, "description": TIMEOUT_DESCRIPTION})
    return documents


def parse_request(scope: Scope, headers: Mapping[bytes, bytes], operation: Operation) -> RequestParameters:
    """Parse the query string and headers of a request.

    Raises MethodNotAllowed, InvalidParameter or UnsupportedMediaType.
    """
    if scope["method"] != "POST":
        raise MethodNotAllowed("send POST", headers={"allow": "POST"})
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")
    query, accept, content_type = scope["query_string"], headers.get(b"accept", b""), headers.get(b"content-type", b"")
    short = len(query) + len(accept) + len(content_type) <= CACHEABLE_BYTES
    return (parse_query_cached if short else parse_query)(query, accept, content_type, operation)


def parse_query(query: bytes, accept: bytes, content_type: bytes, operation: Operation) -> RequestParameters:
    """Parse a query string, Accept and Content-Type.

    Raises InvalidParameter if a query parameter is unknown, repeated or out of range.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise InvalidParameter("the query string is malformed") from error
    values = dict(pairs)
    names = parameter_names(operation)
    accepted = f"/{operation} takes {', '.join(names)}, each once"
    for name in values:
        if name not in names:
            raise InvalidParameter(f"{_describe_unknown(name, names)}; {accepted}")
    if len(values) < len(pairs):
        raise InvalidParameter(f"a query parameter is repeated; {accepted}")
    headers = {"accept": accept.decode("latin-1"), "content_type": content_type.decode("latin-1")}
    try:
        return RequestParameters.model_validate({**values, **headers})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidParameter(f"{first['loc'][0]}: {first['msg']}") from error


parse_query_cached = lru_cache(maxsize=256)(parse_query)


def _describe_unknown(name: str, names: tuple[str, ...]) -> str:
    """Name an unknown parameter and suggest the nearest valid one."""
    if not (name.isidentifier() and name.isascii() and len(name) <= 40):
        return "unknown query parameter"  # never repeat arbitrary bytes of a request
    similar = get_close_matches(name, names, 1, SUGGESTION_CUTOFF)
    return f"unknown query parameter {name}" + (f", did you mean {similar[0]}?" if similar else "")


def client_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds of `X-Request-Timeout`, or None without that header. Raises InvalidParameter."""
    text = headers.get(b"x-request-timeout")
    if text is None:
        return None
    try:
        seconds = float(text) if len(text) < 32 else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise InvalidParameter(f"{TIMEOUT_HEADER} must be a positive number of seconds")
    return seconds

"""Parameters of a request, from its query string, headers and form fields.

The model `Parameters` states each query parameter once. Parsing, the OpenAPI document and error messages follow.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache
from math import inf
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.types import Scope

from service.card import Operation
from service.engine.strength import Removal
from service.errors import InvalidParameter, MethodNotAllowed, UnsupportedMediaType
from service.http.media_types import BITSTREAM, JSON, NPY, content_media_type, format_media_type

CACHEABLE_BYTES = 512  # total length of query, Accept and Content-Type up to which a parse is cached
SUGGESTION_CUTOFF = 0.6  # similarity (0..1) from which a valid name is suggested for an unknown one
TIMEOUT_HEADER = "X-Request-Timeout"
TIMEOUT_DESCRIPTION = "seconds after which the client stops waiting"

TruncatedPolicy = Literal["allow", "reject"]
MetadataPolicy = Literal["keep", "strip"]
MapKind = Literal["overlay", "gray"]
Format = Literal["json", "npy", "png", "jpeg", "webp", "bitstream"]
FORMAT_TYPES: dict[Format, str] = {
    "json": JSON,
    "npy": NPY,
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "bitstream": BITSTREAM,
}
FORMAT_BY_MEDIA_TYPE = {media_type: name for name, media_type in FORMAT_TYPES.items()}

BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("false", "0", "no", "off", "f", "n"), False),
}
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
REPEATABLE_NAME = re.compile(r"[A-Za-z_][\w.\[\]-]{0,39}", re.ASCII)


def _parse_format(value: object) -> object:
    """Accept a format by its name, extension or media type, in any case."""
    if isinstance(value, str):
        return FORMAT_BY_MEDIA_TYPE.get(format_media_type(value), value.lower()) if value else None
    return value


def _parse_lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _parse_map(value: object) -> object:
    """Accept the kinds of maps, and booleans: true is the overlay, false no map."""
    if isinstance(value, str):
        text = value.lower()
        if text in BOOLEANS or not text:
            return "overlay" if BOOLEANS.get(text) else None
        return {"grey": "gray", "grayscale": "gray"}.get(text, text)
    return value


def _parse_number(value: object) -> object:
    """Accept decimal numbers as JSON writes them: no digit separators, percent signs or names such as inf."""
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        if NUMBER.fullmatch(value.replace(",", ".")):
            raise PydanticCustomError("number", "must have a decimal point, not a comma")
        if value.endswith("%"):
            raise PydanticCustomError("number", "must be a number without a percent sign: 0.5 instead of 50%")
        raise PydanticCustomError("number", "must be a number")
    return value


def _parse_version(value: object) -> object:
    """Accept decimal digits only: neither signs nor fractions nor blanks, which pydantic would accept."""
    if value == "":
        return None
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value)):
        raise PydanticCustomError(
            "version", "must be a positive integer of at most nine digits; without it the newest version answers"
        )
    return value


def _parse_integer(value: object) -> object:
    """Accept decimal digits only: neither signs nor fractions nor blanks, which pydantic would accept."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise PydanticCustomError("integer", "must be an integer")
    return value


def _parse_boolean(value: object) -> object:
    if isinstance(value, str):
        if value.lower() not in BOOLEANS:
            raise PydanticCustomError("boolean", "must be true or false")
        return BOOLEANS[value.lower()]
    return value


class Parameters(BaseModel):
    """Query parameters of the operations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", description="name of the model, see GET /models; default: the operation's default")
    version: Annotated[int | None, Field(ge=1, le=999_999_999), BeforeValidator(_parse_version)] = Field(
        default=None, description="version of the model; default: the highest valid one"
    )
    format: Annotated[Format | None, BeforeValidator(_parse_format)] = Field(
        default=None, description="type of the response; overrides Accept"
    )
    strength: Annotated[float, BeforeValidator(_parse_number)] = Field(
        default=1.0,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="how much noise to remove, from 0 (none) over 1 (what the model chooses) to 2; default: 1",
    )
    sigma: Annotated[float | None, Field(ge=0, le=100, allow_inf_nan=False), BeforeValidator(_parse_number)] = Field(
        default=None,
        description="standard deviation of the noise in grey levels of 0 to 255, for models that can be given one; "
        "default: the model estimates it",
    )
    grayscale: Annotated[bool, BeforeValidator(_parse_boolean)] = Field(
        default=False, description="convert the image to grayscale before denoising; default: false"
    )
    truncated: Annotated[TruncatedPolicy | None, BeforeValidator(_parse_lower_case)] = Field(
        default=None, description="allow or reject images of which a part is missing; default: reject"
    )
    quality: Annotated[int | None, Field(ge=1, le=100), BeforeValidator(_parse_integer)] = Field(
        default=None,
        description="quality of a JPEG or WebP response; default: that of the JPEG sent, or of the settings",
    )
    map: Annotated[MapKind | None, BeforeValidator(_parse_map)] = Field(
        default=None,
        description="where the error is: `true` or `overlay` for colours over the image, `gray` for 16-bit gray; a raw "
        "response then is the map, a JSON response has it besides; for vectors, the columns that the error comes from",
    )
    metadata: Annotated[MetadataPolicy | None, BeforeValidator(_parse_lower_case)] = Field(
        default=None,
        description="keep or strip metadata such as EXIF, XMP and resolution; default: the setting of the service",
    )


COMMON = ("model", "version", "format")
IMAGE_INPUT_ONLY = ("truncated",)
IMAGE_OUTPUT_ONLY = ("quality",)
IMAGE_TO_IMAGE_ONLY = ("metadata",)
DENOISE_ONLY = ("strength", "sigma", "grayscale")
RECONSTRUCT_ONLY = ("map",)


class RequestParameters(Parameters):
    """Query parameters together with the Accept and Content-Type headers.

    `media_type`: the registered name of the Content-Type, without its parameters.
    """

    accept: str = ""
    content_type: str = ""
    media_type: str = ""

    @cached_property
    def removal(self) -> Removal:
        """How much noise to remove."""
        return Removal(self.strength, self.sigma)


def parameter_names(operation: Operation) -> tuple[str, ...]:
    """Return the names of the query parameters of an operation."""
    names = COMMON if operation == "decode" else COMMON + IMAGE_INPUT_ONLY
    names = names if operation == "encode" else names + IMAGE_OUTPUT_ONLY
    names = names + IMAGE_TO_IMAGE_ONLY if operation in ("reconstruct", "denoise") else names
    names = names + RECONSTRUCT_ONLY if operation == "reconstruct" else names
    return names + DENOISE_ONLY if operation == "denoise" else names


def parameter_documents(operation: Operation) -> list[dict[str, Any]]:
    """Return the OpenAPI parameter objects of an operation, including the timeout header.

    Only descriptions state defaults: generated clients would send a `default` in the query, also beside a form field.
    """
    properties = Parameters.model_json_schema()["properties"]
    documents: list[dict[str, Any]] = []
    for name in parameter_names(operation):
        schema = dict(properties[name])
        description = schema.pop("description")
        for alternative in schema.pop("anyOf", ()):  # an optional parameter: a type or null
            if alternative != {"type": "null"}:
                schema.update(alternative)
        if name == "format":
            schema["enum"] = response_formats(operation)
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
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType(
            "send the body without Content-Encoding: it must not be compressed", headers={"accept-encoding": "identity"}
        )
    query, accept, content_type = scope["query_string"], headers.get(b"accept", b""), headers.get(b"content-type", b"")
    short = len(query) + len(accept) + len(content_type) <= CACHEABLE_BYTES
    return (parse_query_cached if short else parse_query)(query, accept, content_type, operation)


def parse_query(query: bytes, accept: bytes, content_type: bytes, operation: Operation) -> RequestParameters:
    """Parse a query string, Accept and Content-Type.

    Raises InvalidParameter if a query parameter is unknown, repeated or out of range.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=64, errors="strict")
    except ValueError as error:
        raise InvalidParameter(
            "the query string is malformed: write it percent-encoded, in UTF-8, with at most 64 parameters"
        ) from error
    names = parameter_names(operation)
    accepted = f"/{operation} takes {', '.join(names)}, each once"
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in names:
            raise InvalidParameter(f"{describe_unknown(name, names)}; {accepted}")
        if name in values:
            raise InvalidParameter(f"{name}: the query parameter is repeated; {accepted}")
        values[name] = value
    try:
        media_type = content_media_type(content_type.decode("latin-1"))
    except ValueError as error:
        raise UnsupportedMediaType("send exactly one Content-Type") from error
    headers = {"accept": accept.decode("latin-1"), "content_type": content_type.decode("latin-1")}
    return validate_parameters({**values, **headers, "media_type": media_type}, operation)


def validate_parameters(values: Mapping[str, str], operation: Operation) -> RequestParameters:
    """Parse the values of parameters. White space around them is ignored. Raises InvalidParameter, which names one."""
    try:
        return RequestParameters.model_validate({name: value.strip() for name, value in values.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0])
        choices = {"map": ["true", "overlay", "gray"], "format": response_formats(operation)}.get(name)
        reason = _describe_choices(choices) if choices else first["msg"]
        raise InvalidParameter(f"{name}: {reason}") from error


def _describe_choices(choices: Sequence[str]) -> str:
    quoted = [f"'{choice}'" for choice in choices]
    return f"Input should be {', '.join(quoted[:-1])} or {quoted[-1]}"


def response_formats(operation: Operation) -> list[Format]:
    """Return the formats that responses of an operation can have; not every model has all."""
    if operation == "encode":
        return ["json", "npy", "bitstream"]
    return ["json", "npy", "png", "jpeg", "webp"]


def merge_form_fields(query: RequestParameters, fields: Mapping[str, str], operation: Operation) -> RequestParameters:
    """Return the parameters of the query together with those of a form.

    Raises InvalidParameter if a value is invalid or the query has another value for it.
    """
    form = validate_parameters(fields, operation)
    values = {name: getattr(form, name) for name in fields}
    for name, value in values.items():
        if name in query.model_fields_set and getattr(query, name) != value:
            raise InvalidParameter(f"{name}: the query and the form have different values; send one of them")
    return query.model_copy(update=values)


parse_query_cached = lru_cache(maxsize=256)(parse_query)


def describe_unknown(name: str, names: Sequence[str], noun: str = "query parameter") -> str:
    """Name an unknown parameter, and the operations that have it, or else suggest the nearest valid one."""
    if not REPEATABLE_NAME.fullmatch(name):
        return f"unknown {noun}"  # never repeat arbitrary bytes of a request
    spelling = name.lower().replace("grey", "gray")
    others = [f"/{operation}" for operation in get_args(Operation) if spelling in parameter_names(operation)]
    if others and spelling not in names:
        return f"unknown {noun} {name}, which is a parameter of {', '.join(others)}"
    similar = get_close_matches(spelling, names, 1, SUGGESTION_CUTOFF)
    return f"unknown {noun} {name}" + (f", did you mean {similar[0]}?" if similar else "")


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

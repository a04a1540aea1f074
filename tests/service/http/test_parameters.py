"""Query parameters: one model states them, and parsing and the OpenAPI document follow from it."""

import pytest

from service.card import Operation
from service.engine.operations import OPERATIONS
from service.errors import InvalidParameter
from service.http.parameters import Parameters, parameter_documents, parameter_names, parse_query
from tests.support.compatibility import accepts, refuses


def test_every_parameter_of_the_model_belongs_to_an_operation() -> None:
    assert {name for operation in OPERATIONS for name in parameter_names(operation)} == set(Parameters.model_fields)


def test_documents_state_types_and_ranges() -> None:
    documents = {document["name"]: document["schema"] for document in parameter_documents("denoise")}
    assert documents == {
        "model": {"type": "string"},
        "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "format": {"type": "string", "enum": ["json", "npy", "png", "jpeg", "webp"]},
        "truncated": {"type": "string", "enum": ["allow", "reject"]},
        "quality": {"type": "integer", "minimum": 1, "maximum": 100},
        "strength": {"type": "number", "minimum": 0, "maximum": 2},
        "sigma": {"type": "number", "minimum": 0, "maximum": 100},
        "grayscale": {"type": "boolean"},
        "metadata": {"type": "string", "enum": ["keep", "strip"]},
        "X-Request-Timeout": {"type": "number", "exclusiveMinimum": 0},
    }


def test_values_are_parsed() -> None:
    parameters = parse_query(
        b"model=a&version=2&format=png&strength=0.5&grayscale=true&metadata=strip", b"*/*", b"image/png", "denoise"
    )
    assert (parameters.model, parameters.version, parameters.format) == ("a", 2, "png")
    assert (parameters.strength, parameters.grayscale, parameters.metadata) == (0.5, True, "strip")
    assert (parameters.accept, parameters.content_type) == ("*/*", "image/png")


def test_empty_version_and_format_are_defaults() -> None:
    parameters = parse_query(b"version=&format=&model=", b"", b"", "encode")
    assert (parameters.version, parameters.format, parameters.model) == (None, None, "")


@pytest.mark.parametrize(
    "query",
    [
        *("version=%2B1", "version=1.0", "version=%C2%B2", "version=1_0", "version=0", "version=9999999999"),
        *("strength=nan", "strength=2.01", "strength=-1", "strength=", "strength=x", "strength=1e999"),
        *("quality=0", "quality=101", "quality=90.5", "quality=%2B9", "quality="),
        *("grayscale=2", "grayscale=", "truncated=", "truncated=yes", "metadata=", "metadata=x"),
        *("format=bmp", "model=a&model=b", "%ff=1"),
    ],
)
def test_invalid_values_are_named(query: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(query.encode(), b"", b"", "denoise")
    name = query.partition("=")[0]
    assert raised.value.detail.startswith((f"{name}: ", "a query parameter is repeated", "the query string"))


@refuses(14, "an unknown parameter", because="400 suggests the nearest", cases="{query}")
@pytest.mark.parametrize(
    ("query", "suggestion"),
    [("grey=1", "grayscale"), ("modle=a", "model"), ("fmt=png", "format"), ("strenght=1", "strength")],
)
def test_unknown_parameter_is_named_and_the_nearest_suggested(query: str, suggestion: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(query.encode(), b"", b"", "denoise")
    assert raised.value.detail.startswith(
        f"unknown query parameter {query.partition('=')[0]}, did you mean {suggestion}?"
    )


def test_invalid_name_bytes_are_not_repeated() -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(b"%3Cscript%3E=1", b"", b"", "denoise")
    assert "script" not in raised.value.detail


ACCEPTED: dict[str, tuple[str, object]] = {
    **{
        f"grayscale={value}": ("grayscale", True)
        for value in ("true", "True", "TRUE", "1", "yes", "on", "Y", "t", "%20true+")
    },
    **{f"grayscale={value}": ("grayscale", False) for value in ("false", "False", "0", "no", "OFF", "n", "F")},
    **{
        f"format={value}": ("format", "jpeg")
        for value in ("jpeg", "jpg", "JPEG", "JPG", ".jpg", "image/jpeg", "image/jpg", "image%2Fpjpeg", "jfif", "jpe")
    },
    **{f"format={value}": ("format", "png") for value in ("png", "PNG", ".png", "image/png", "image/x-png", "+png+")},
    **{f"format={value}": ("format", "webp") for value in ("webp", "WebP", "image/webp")},
    **{f"format={value}": ("format", "json") for value in ("json", "JSON", "application/json", "text/json")},
    **{f"format={value}": ("format", "npy") for value in ("npy", ".npy", "application/x-npy", "application/npy")},
    **{f"metadata={value}": ("metadata", "keep") for value in ("keep", "Keep", "KEEP", "%09keep")},
    **{f"metadata={value}": ("metadata", "strip") for value in ("strip", "Strip")},
    **{f"strength={value}": ("strength", 0.5) for value in ("0.5", ".5", "%20.5", "5e-1", "+0.5", "%2B0.5", "0.50")},
    **{f"strength={value}": ("strength", 1.0) for value in ("1", "1.", "1.0", "1e0")},
    **{f"version={value}": ("version", 2) for value in ("2", "+2", "2%0D%0A", "002")},
    "model=%20digits%20": ("model", "digits"),
}


@accepts(14, "values of parameters", oracle="the value", cases="{query}")
@pytest.mark.parametrize("query", ACCEPTED)
def test_spelling_of_a_value_is_accepted(query: str) -> None:
    name, value = ACCEPTED[query]
    assert getattr(parse_query(query.encode(), b"", b"", "denoise"), name) == value


@refuses(
    14, "values that are ambiguous or unknown", because="400 names the parameter and what would do", cases="{query:.40}"
)
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("strength=0,5", "strength: must have a decimal point"),
        ("strength=50%25", "strength: must be a number without a percent sign"),
        *((f"strength={value}", "strength: must be a number") for value in ("inf", "1_0", "%D9%A1", "0x1", "half")),
        ("grayscale=maybe", "grayscale: must be true or false"),
        ("grayscale=11", "grayscale: must be true or false"),
        ("format=image/tiff", "format: Input should be"),
        ("format=jpeg2000", "format: Input should be"),
        ("version=latest", "version: must be a positive integer"),
        ("version=v2", "version: must be a positive integer"),
        ("model=a&model=a", "model: the query parameter is repeated"),
        ("Grayscale=1", "unknown query parameter Grayscale, did you mean grayscale?"),
        ("greyscale=1", "unknown query parameter greyscale, did you mean grayscale?"),
        ("gray_scale=1", "unknown query parameter gray_scale, did you mean grayscale?"),
        ("Format=png", "unknown query parameter Format, did you mean format?"),
        ("meta-data=keep", "unknown query parameter meta-data, did you mean metadata?"),
        ("_=1700000000", "unknown query parameter _; /denoise takes model"),
        ("&".join(f"a{number}=1" for number in range(65)), "the query string is malformed"),
    ],
)
def test_refused_spelling_is_explained(query: str, reason: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(query.encode(), b"", b"", "denoise")
    assert raised.value.detail.startswith(reason)


@pytest.mark.parametrize(
    ("query", "operation", "reason"),
    [
        ("strength=1", "encode", "unknown query parameter strength, which is a parameter of /denoise; /encode takes"),
        ("Greyscale=1", "decode", "unknown query parameter Greyscale, which is a parameter of /denoise; /decode takes"),
        ("metadata=keep", "encode", "unknown query parameter metadata, which is a parameter of /reconstruct, /denoise"),
        ("intensity=1", "denoise", "unknown query parameter intensity; /denoise takes"),
        ("stength=1", "denoise", "unknown query parameter stength, did you mean strength?"),
        ("truncate=allow", "encode", "unknown query parameter truncate, did you mean truncated?"),
        ("qualty=9", "decode", "unknown query parameter qualty, did you mean quality?"),
        ("format=gif", "denoise", "format: Input should be 'json', 'npy', 'png', 'jpeg' or 'webp'"),
        ("format=gif", "encode", "format: Input should be 'json', 'npy' or 'bitstream'"),
        ("map=color", "reconstruct", "map: Input should be 'true', 'overlay' or 'gray'"),
    ],
)
def test_parameters_of_other_operations_are_not_misspellings(query: str, operation: Operation, reason: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(query.encode(), b"", b"", operation)
    assert raised.value.detail.startswith(reason)

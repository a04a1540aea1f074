"""Query parameters: one model states them, and parsing and the OpenAPI document follow from it."""

import pytest

from service.engine.operations import OPERATIONS
from service.errors import InvalidParameter
from service.http.negotiation import FORMAT_TYPES
from service.http.parameters import Parameters, parameter_documents, parameter_names, parse_query


def test_every_parameter_of_the_model_belongs_to_an_operation() -> None:
    assert {name for operation in OPERATIONS for name in parameter_names(operation)} == set(Parameters.model_fields)


def test_documents_state_types_and_ranges() -> None:
    documents = {document["name"]: document["schema"] for document in parameter_documents("denoise")}
    assert documents == {
        "model": {"type": "string"},
        "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "format": {"type": "string", "enum": list(FORMAT_TYPES)},
        "truncated": {"type": "string", "enum": ["allow", "reject"]},
        "quality": {"type": "integer", "minimum": 1, "maximum": 100},
        "strength": {"type": "number", "minimum": 0, "maximum": 1, "default": 1.0},
        "grayscale": {"type": "boolean", "default": False},
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
        *("version=+1", "version=1.0", "version=%C2%B2", "version=1_0", "version=0", "version=9999999999"),
        *("strength=nan", "strength=1.01", "strength=-1", "strength=", "strength=x", "strength=1e999"),
        *("quality=0", "quality=101", "quality=90.5", "quality=+9", "quality="),
        *(
            "grayscale=1",
            "grayscale=",
            "truncated=",
            "truncated=yes",
            "metadata=",
            "metadata=x",
            "format=bmp",
            "model=a&model=b",
            "%ff=1",
        ),
    ],
)
def test_invalid_values_are_named(query: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(query.encode(), b"", b"", "denoise")
    name = query.partition("=")[0]
    assert raised.value.detail.startswith((f"{name}: ", "a query parameter is repeated", "the query string"))


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


def test_bytes_that_are_no_name_are_not_repeated() -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_query(b"%3Cscript%3E=1", b"", b"", "denoise")
    assert "script" not in raised.value.detail

"""JSON bodies: parsing in chunks gives the same values and errors, and no chunk is large."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidArray, InvalidImage, MalformedBody, Problem, TooManyItems
from service.http import json_body
from service.http.json_body import parse_images, parse_values

BLANKS = st.text(" \t\r\n", max_size=3)
MOST = 50


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parse in chunks of a few rows, and return the sizes of the chunks."""
    sizes: list[int] = []
    parse = json_body._parse_rows  # pyright: ignore[reportPrivateUsage]

    def seen(piece: bytes, before: int) -> Any:
        sizes.append(len(piece))
        return parse(piece, before)

    monkeypatch.setattr(json_body, "_parse_rows", seen)
    monkeypatch.setattr(json_body, "CHUNK_BYTES", 40)
    return sizes


def body(rows: Any) -> bytes:
    return json.dumps({"values": rows}).encode()


@pytest.mark.parametrize("shape", [(1, 3), (40, 3), (MOST, 1), (7, 2, 3, 4), (30, 1, 1, 1)])
@given(blank=BLANKS, other=BLANKS)
@settings(max_examples=20, deadline=None)
def test_chunked_parsing_returns_the_same_rows(shape: tuple[int, ...], blank: str, other: str) -> None:
    rows = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    text = body(rows.tolist()).decode().replace("]", f"{blank}]").replace(",", f"{other},{blank}")
    parsed = parse_values(text.encode(), MOST, rows[0].size, rows.ndim - 1)
    assert parsed.dtype == np.float32
    assert (parsed == rows).all()


def test_parser_gets_small_chunks_only(little: list[int]) -> None:
    parse_values(body([[1.5, 2.5]] * MOST), MOST, 2, 1)
    assert len(little) > 5
    with pytest.raises(InvalidArray):
        parse_values(body([[1.5] * 10_000]), MOST, 2, 1)
    assert max(little) < 100


ROW = b"[1, 2, 3],"


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b'{"values": [' + ROW * 20 + b"]}", MalformedBody, "not valid JSON"),
        (b'{"values": [' + ROW * 20 + b"[1, 2, 3]", MalformedBody, "not valid JSON"),
        (b'{"values": [' + ROW * 20 + b"[1, 2, 3] [1, 2, 3]]}", MalformedBody, "not valid JSON"),
        (b'{"values": [' + ROW * 20 + b',[1, 2, 3]], "more": [[1]]}', MalformedBody, "not valid JSON"),
        (b'{"values": [' + ROW * 20 + b"[1, 2, 3]]}]}", MalformedBody, "not valid JSON"),
        (b'{"values": [' + ROW * 20 + b'[1, "2", 3]]}', InvalidArray, "values.20.1: Input should be a valid number"),
        (b'{"values": [' + ROW * 20 + b"[1, NaN, 3]]}", InvalidArray, "values.20.1: Input should be a finite number"),
        (b'{"values": [' + ROW * 20 + b"[1, 2]]}", InvalidArray, "of 3 numbers"),
        (b'{"values": [' + ROW * 20 + b"7]}", InvalidArray, "values.20: "),
        (b'{"values": [[' + b"1," * 5000 + b"1]]}", InvalidArray, "of 3 numbers"),
        (b'{"values": [[' + b"1" * 5000 + b", 2, 3]]}", MalformedBody, "too many digits"),
        (b'{"values": [' + ROW * MOST + b"[1, 2, 3]]}", TooManyItems, "50 items"),
        (b'{"vectors": [' + ROW * 20 + b"[1, 2, 3]]}", InvalidArray, "begin with"),
        (b" " * 5000 + b'{"values": [[1, 2, 3]]}', InvalidArray, "begin with"),
        (b"[" * 5000, InvalidArray, "begin with"),
    ],
)
def test_error_in_a_large_body_is_named(data: bytes, kind: type[Problem], said: str) -> None:
    with pytest.raises(kind, match=said):
        parse_values(data, MOST, 3, 1)


def test_json_images_are_limited_to_the_maximum() -> None:
    texts = ["data:image/png;base64,aaaa"] * MOST
    assert parse_images(json.dumps({"images": texts}).encode(), MOST) == texts
    with pytest.raises(TooManyItems):
        parse_images(json.dumps({"images": ["a"] * 3 * MOST}).encode(), MOST)


@pytest.mark.parametrize("data", [b'{"images": [' + b"{}," * 200 + b"{}]}", b"{" + b'"a":1,' * 200 + b'"b":1}'])
def test_body_without_images_is_not_parsed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "_parse_model", None)
    with pytest.raises(InvalidImage, match="begin with"):
        parse_images(data, MOST)

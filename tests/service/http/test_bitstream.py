"""Bitstreams over HTTP: entropy-coded codes from /encode, back through /decode, and hostile ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.card import Card
from service.codec.range_coder import RangeCoder
from service.engine import bitstream
from service.runtime.tensors import to_tensor
from tests.conftest import Serve, digit, png
from tests.support.tiny_models import CODE, publish

BITSTREAM = "application/x-hourglass-bitstream"
VALUES = np.arange(-7, 8)
SMALL, OTHER = ((base ** -np.abs(VALUES)) / (base ** -np.abs(VALUES)).sum() for base in (2.0, 3.0))
"""Probabilities of the values -7..7, small ones being the most likely."""


def tables(row: Any) -> dict[str, Any]:
    """Return the card's tables, with the same probabilities for every number of the code."""
    return {"probabilities": to_tensor(np.tile(row.astype(np.float32), (CODE, 1))).model_dump()}


def card_with(row: Any, tmp_path: Path, name: str = "whole") -> Card:
    """Return the card of a model with these tables."""
    folder = publish(tmp_path, "points", name=name, format=2, bitstream=tables(row))
    return Card.model_validate_json((folder / "card.json").read_text())


@pytest.fixture
def coding(serve: Serve, tmp_path: Path) -> TestClient:
    """Return a client of a service with two models whose codes are their vectors with a zero, and different tables."""
    card_with(SMALL, tmp_path)
    card_with(OTHER, tmp_path, "other")
    publish(tmp_path, "points")
    return serve(models_dir=tmp_path)


def encode(client: TestClient, vector: list[float], **headers: str) -> httpx2.Response:
    """Ask for the bitstream of one vector."""
    body = {"values": [vector]}
    return client.post("/encode?model=whole&format=bitstream", json=body, headers=headers)


def decode(client: TestClient, data: bytes, model: str = "whole") -> httpx2.Response:
    """Send a bitstream to be decoded."""
    return client.post(f"/decode?model={model}", content=data, headers={"content-type": BITSTREAM})


def test_decode_gives_back_what_encode_took(coding: TestClient) -> None:
    answer = encode(coding, [3, -1, 0])
    assert answer.headers["content-type"] == BITSTREAM
    assert decode(coding, answer.content).json()["results"][0]["values"] == [3, -1, 0]


def test_size_is_near_the_entropy_of_the_tables(coding: TestClient) -> None:
    bits = -np.log2(SMALL[np.array([3, -1, 0, 0]) + 7]).sum()
    assert bits / 8 <= len(encode(coding, [3, -1, 0]).content) - bitstream.CHECK_BYTES <= bits / 8 + 2


def test_bitstream_is_negotiated_by_accept_too(coding: TestClient) -> None:
    asked = coding.post("/encode?model=whole", json={"values": [[1, 2, 3]]}, headers={"accept": BITSTREAM})
    assert asked.content == encode(coding, [1, 2, 3]).content


def test_numbers_beyond_the_tables_are_clipped(coding: TestClient) -> None:
    answer = decode(coding, encode(coding, [1000, -1000, 0]).content)
    assert answer.json()["results"][0]["values"] == [7, -7, 0]


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data + b"\0", "cut off"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "made by another model"),
        (lambda data: data[:1], "cut off"),
        (lambda _: b"", "empty"),
        (lambda data: data * 10_000, "at most"),
    ],
    ids=["cut", "longer", "changed", "one byte", "empty", "huge"],
)
def test_hostile_bitstream_is_a_422(coding: TestClient, harm: Callable[[bytes], bytes], cause: str) -> None:
    answer = decode(coding, harm(encode(coding, [3, -1, 2]).content))
    assert answer.status_code == 422
    assert cause in answer.json()["detail"]


def test_bitstream_of_another_model_is_rejected(coding: TestClient) -> None:
    answer = decode(coding, encode(coding, [3, -1, 2]).content, model="other")
    assert answer.status_code == 422
    assert "other 1" in answer.json()["detail"]


def test_model_without_tables_has_no_bitstreams(coding: TestClient) -> None:
    asked = coding.post("/encode?model=points&format=bitstream", json={"values": [[1, 2, 3]]})
    assert (asked.status_code, "whole numbers" in asked.json()["detail"]) == (406, True)
    sent = decode(coding, b"abcd", model="points")
    assert (sent.status_code, "not whole numbers" in sent.json()["detail"]) == (415, True)


def test_several_items_do_not_fit_one_bitstream(coding: TestClient) -> None:
    asked = coding.post("/encode?model=whole&format=bitstream", json={"values": [[1, 2, 3]] * 2})
    assert (asked.status_code, "one item" in asked.json()["detail"]) == (406, True)


def test_pictures_are_no_bitstreams(client: TestClient) -> None:
    asked = client.post("/denoise?format=bitstream", content=png(digit()), headers={"content-type": "image/png"})
    assert (asked.status_code, "encode" in asked.json()["detail"]) == (406, True)


def test_missing_package_is_named(coding: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ImportError

    monkeypatch.setattr(bitstream, "_cached_coder", fail)
    assert "extra bitstream" in encode(coding, [1, 2, 3]).json()["detail"]
    answer = decode(coding, b"abcd")
    assert (answer.status_code, "extra bitstream" in answer.json()["detail"]) == (415, True)


def test_damaged_tables_are_rejected_on_loading(serve: Serve, tmp_path: Path) -> None:
    card_with(np.where(VALUES == 0, np.nan, SMALL), tmp_path)
    publish(tmp_path, "points")
    answer = encode(serve(models_dir=tmp_path), [1, 2, 3])
    assert answer.status_code == 503


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=24))
def test_any_bytes_decode_or_raise_value_error(data: bytes) -> None:
    coder = RangeCoder(np.tile(SMALL.astype(np.float32), (CODE, 1)))
    try:
        symbols = coder.decode([data])
    except ValueError:
        return
    assert np.abs(symbols).max() <= coder.max_symbol

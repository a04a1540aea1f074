"""Cards of format 1 and 2: what they may contain, and what is written of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.card import CARD_FILE, read_card
from service.http.schemas import ModelDetail
from tests.support.tiny_models import publish

ROOT = Path(__file__).parents[2]
CONTROL = {"name": "level", "title": "Level", "unit": "", "minimum": 0.0, "maximum": 9.0, "default": -1.0}
NUMBERS = [{"name": name, "kind": "number"} for name in "xyz"]
CATEGORY = {"name": "colour", "kind": "category", "categories": ["red", "blue"]}
THRESHOLD = {"error": 0.02, "false_alarm_rate": 0.01}
ORIGIN = {"file": "foreign.onnx", "sha256": "0" * 64, "licence": "MIT"}

FORMAT_2_NAMES = {"columns", "threshold", "origin", "controls", "noise_map", "bitstream"}
FORMAT_2 = {
    "columns": ("points", {"columns": NUMBERS}),
    "columns with a category": ("points", {"columns": [NUMBERS[0], CATEGORY]}),
    "threshold": ("points", {"threshold": THRESHOLD}),
    "origin": ("digits", {"origin": ORIGIN}),
    "controls": ("photos", {"controls": [CONTROL]}),
    "noise_map": ("photos", {"noise_map": True}),
}


def fields(folder: Path, kind: str) -> dict[str, Any]:
    """Return the fields of the card of a tiny model."""
    return json.loads((publish(folder, kind) / CARD_FILE).read_bytes())


def written(card: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a card as they are written after it was read."""
    return json.loads(read_card(json.dumps(card).encode()).model_dump_json())


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*/*/card.json")), ids=lambda path: path.parts[-3])
def test_shipped_card_gains_no_field(path: Path) -> None:
    card = json.loads(path.read_bytes())
    graphs = [{"bytes_per_pixel": None, **graph} for graph in card["graphs"]]  # older cards of format 1 lack this null
    assert written(card) == {**card, "graphs": graphs}


def test_format_1_is_written_byte_for_byte(tmp_path: Path) -> None:
    text = (publish(tmp_path, "digits") / CARD_FILE).read_text()
    assert FORMAT_2_NAMES.isdisjoint(json.loads(text))
    assert read_card(text.encode()).model_dump_json() == text


@pytest.mark.parametrize("case", FORMAT_2)
def test_format_2_keeps_its_fields(tmp_path: Path, case: str) -> None:
    kind, extra = FORMAT_2[case]
    card = {**fields(tmp_path, kind), "format": 2, **extra}
    assert written(card) == card


@pytest.mark.parametrize("case", FORMAT_2)
def test_format_1_rejects_fields_of_format_2(tmp_path: Path, case: str) -> None:
    kind, extra = FORMAT_2[case]
    with pytest.raises(ValidationError, match=f"{next(iter(extra))} need format 2"):
        read_card(json.dumps({**fields(tmp_path, kind), **extra}).encode())


def test_graphs_may_differ_in_weight_bits_alone(tmp_path: Path) -> None:
    card = fields(tmp_path, "photos")
    int8 = {**card["graphs"][0], "precision": "int8", "file": "int8.onnx"}
    seven = {**int8, "file": "int8-7.onnx", "weight_bits": 7}
    both = {**card, "format": 2, "graphs": [*card["graphs"], int8, seven]}
    assert [graph.get("weight_bits") for graph in written(both)["graphs"]] == [None, None, 7]
    with pytest.raises(ValidationError, match="weight_bits need format 2"):
        read_card(json.dumps({**both, "format": 1}).encode())


INVALID = {
    "two columns of one name": ("points", {"columns": [NUMBERS[0], *NUMBERS[:2]]}, "share a name"),
    "columns of an image": ("digits", {"columns": NUMBERS}, "the columns have 3 features"),
    "too few columns": ("points", {"columns": NUMBERS[:2]}, "the columns have 2 features"),
    "a number with categories": ("points", {"columns": [{**CATEGORY, "kind": "number"}]}, "only if"),
    "a category without": ("points", {"columns": [{"name": "a", "kind": "category"}]}, "only if"),
    "a category twice": ("points", {"columns": [{**CATEGORY, "categories": ["red", "red"]}]}, "the same name"),
    "a threshold without reconstruct": ("photos", {"threshold": THRESHOLD}, "must have a reconstruct graph"),
    "a rate above 1": ("points", {"threshold": {**THRESHOLD, "false_alarm_rate": 2.0}}, "less than or equal to 1"),
    "controls of one name": ("photos", {"controls": [CONTROL, CONTROL]}, "share a name"),
    "a control whose range falls": ("photos", {"controls": [{**CONTROL, "minimum": 10.0}]}, "must not exceed"),
    "a control with a bad name": ("photos", {"controls": [{**CONTROL, "name": "Level!"}]}, "match pattern"),
    "a noise map of one size": ("digits", {"noise_map": True}, "images of any size"),
}


@pytest.mark.parametrize("case", INVALID)
def test_contradiction_in_format_2_is_rejected(tmp_path: Path, case: str) -> None:
    kind, extra, message = INVALID[case]
    with pytest.raises(ValidationError, match=message):
        read_card(json.dumps({**fields(tmp_path, kind), "format": 2, **extra}).encode())


def test_weight_bits_are_only_for_int8(tmp_path: Path) -> None:
    card = fields(tmp_path, "photos")
    graph = {**card["graphs"][0], "weight_bits": 7}
    with pytest.raises(ValidationError, match="which only int8 graphs have"):
        read_card(json.dumps({**card, "format": 2, "graphs": [graph]}).encode())


def test_schema_of_responses_requires_no_optional_field() -> None:
    schema = ModelDetail.model_json_schema(mode="serialization")["$defs"]["Card"]
    assert set(schema["properties"]) - set(schema["required"]) == FORMAT_2_NAMES

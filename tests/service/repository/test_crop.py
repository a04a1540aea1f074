"""Graphs for images of any size with an optional input `crop`: how they are loaded and run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from service.card import Card, read_card
from service.errors import ModelRejected
from service.repository import loader
from service.repository.loader import load_graph
from tests.support.tiny_models import ANY_IMAGE, IMAGE, Port, graph, node, publish

CROPPED = [
    node("BitwiseNot", "image", "inverted"),
    node("Shape", "image", "sides", start=1, end=3),
    node("Slice", "crop zero two", "starts"),
    node("Slice", "crop two four", "left"),
    node("Sub", "sides left", "ends"),
    node("Slice", "inverted starts ends axes", "out"),
]
CONSTANTS: dict[str, Any] = {
    "zero": np.array([0]),
    "two": np.array([2]),
    "four": np.array([4]),
    "axes": np.array([1, 2]),
}


def with_graph(models: Path, content: bytes, kind: str = "photos") -> tuple[Path, Card]:
    """Publish a tiny model of which `denoise` is this graph."""
    folder = publish(models, kind)
    (folder / "denoise.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    (entry,) = (entry for entry in card["graphs"] if entry["operation"] == "denoise")
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    card["graphs"] = [entry]
    return folder, read_card(json.dumps(card).encode())


NOTHING = np.zeros(4, np.int64)


def optional_crop(nodes: list[Any], default: Any = NOTHING, **constants: Any) -> bytes:
    dtype = TensorProto.INT64 if default.dtype == np.int64 else TensorProto.FLOAT
    inputs: list[Port] = [("image", ANY_IMAGE), ("crop", (dtype, list(default.shape)))]
    return graph(nodes, inputs, ("out", ANY_IMAGE), crop=default, **constants)


def test_crop_is_found_and_used(tmp_path: Path) -> None:
    folder, card = with_graph(tmp_path, optional_crop(CROPPED, **CONSTANTS))
    session = load_graph(folder, card, card.graphs[0])
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), np.uint8)
    assert session.crops
    assert (session.run(image) == 255 - image).all()
    assert (session.run(image, crop=(1, 2, 3, 4)) == 255 - image[:, 1:6, 2:7]).all()


def test_graph_without_crop_is_loaded(tmp_path: Path) -> None:
    folder = publish(tmp_path, "photos")
    card = read_card((folder / "card.json").read_bytes())
    assert not load_graph(folder, card, card.graphs[0]).crops


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (optional_crop([node("BitwiseNot", "image", "out")]), "does not leave out the pixels of its input crop"),
        (optional_crop(CROPPED, np.zeros(3, np.int64), **CONSTANTS), "fails on its probe"),
        (optional_crop([node("BitwiseNot", "image", "out")], np.zeros(4, np.float32)), "fails on its probe"),
    ],
    ids=["ignored", "three numbers", "float"],
)
def test_other_inputs_of_that_name_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    folder, card = with_graph(tmp_path, content)
    with pytest.raises(ModelRejected, match=message):
        load_graph(folder, card, card.graphs[0])


def test_weights_of_that_name_are_no_crop_of_a_fixed_size(tmp_path: Path) -> None:
    inputs: list[Port] = [("image", IMAGE), ("crop", (TensorProto.INT64, [4]))]
    content = graph([node("BitwiseNot", "image", "out")], inputs, ("out", IMAGE), crop=np.zeros(4, np.int64))
    folder, card = with_graph(tmp_path, content, "digits")
    session = load_graph(folder, card, card.graphs[0])
    assert not session.crops


def test_crop_is_not_used_where_a_provider_ignores_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, card = with_graph(tmp_path, optional_crop([node("BitwiseNot", "image", "out")]))
    monkeypatch.setattr(loader, "CPU", "another device")  # as OpenVINO does, which this graph imitates
    assert not load_graph(folder, card, card.graphs[0]).crops

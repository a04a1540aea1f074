"""The digits of the playground: the stored codes are those of the shipped graphs."""

import json

import numpy as np
import pytest
from PIL import Image

from docs.playground_data import COLUMNS, MODELS, PER_CLASS, codes_file, encode_graph, read_codes
from service.http.pages import PLAYGROUND_DIR
from service.runtime.session import Session


@pytest.mark.parametrize("name", MODELS)
def test_codes_are_of_the_shipped_graph(name: str) -> None:
    stored = json.loads((PLAYGROUND_DIR / f"codes-{name}.json").read_text("utf-8"))
    graph, file = encode_graph(name)
    assert stored["encode_sha256"] == graph.sha256, "run `python -m docs.playground_data`"
    facts = json.loads((PLAYGROUND_DIR / "digits.json").read_text("utf-8"))
    codes, labels = read_codes(stored), np.array(list(stored["labels"]), int)
    assert codes.shape == (len(labels), 2)
    with Image.open(PLAYGROUND_DIR / "digits.png") as picture:
        sheet = np.asarray(picture)
    for label in range(10):
        index = facts["labels"].index(str(label))  # the first of its class on the sheet and in the test set
        row, column = divmod(index, COLUMNS)
        digit = sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
        code = Session(file.read_bytes()).run(digit[np.newaxis, :, :, np.newaxis])[0]
        steps = np.subtract(stored["high"], stored["low"]) / 65535
        assert np.abs(codes[np.flatnonzero(labels == label)[0]] - code).max() <= steps.max()


def test_sheet_has_as_many_digits_of_each_class() -> None:
    facts = json.loads((PLAYGROUND_DIR / "digits.json").read_text("utf-8"))
    assert facts["columns"] == COLUMNS
    assert [facts["labels"].count(str(label)) for label in range(10)] == [PER_CLASS] * 10
    with Image.open(PLAYGROUND_DIR / "digits.png") as picture:
        assert picture.size == (28 * COLUMNS, 28 * 10 * PER_CLASS // COLUMNS)


def test_codes_survive_their_file() -> None:
    codes = np.random.default_rng(5).normal(size=(20, 2)).astype(np.float32)
    stored = json.loads(json.dumps(codes_file(codes, np.arange(20) % 10, "0" * 64)))
    assert np.abs(read_codes(stored) - codes).max() <= np.ptp(codes, axis=0).max() / 65535
    assert stored["labels"] == "01234567890123456789"

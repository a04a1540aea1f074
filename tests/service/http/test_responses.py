"""Rendering of results: bodies and headers, and the problems of single items."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.card import Card
from service.codec import Picture, read_npy
from service.engine.operations import InferenceResult
from service.errors import InternalError, InvalidImage, NotAcceptable
from service.http.body import Inputs
from service.http.media_types import JSON, NPY
from service.http.responses import ResponseParts, render
from service.repository.layout import load_card
from tests.conftest import pixels
from tests.support.tiny_models import SIDE

PNG = "image/png"


@pytest.fixture
def card(models: Path) -> Card:
    return load_card(models / "digits" / "1")


@pytest.fixture
def parts(card: Card) -> ResponseParts:
    """Return the denoised output of two pictures: black ones that became grey."""
    black, grey = np.zeros((2, SIDE, SIDE, 1), np.uint8), np.full((2, SIDE, SIDE, 1), 51, np.uint8)
    inputs = Inputs([black], [Picture(item, PNG) for item in black])
    return ResponseParts(card, "reconstruct", inputs, InferenceResult(list(grey)), "id", 90)


def first_item(parts: ResponseParts) -> ResponseParts:
    """Return the parts of a request with the first item only."""
    inputs = Inputs([parts.inputs.arrays[0][:1]], parts.inputs.pictures[:1])
    return replace(parts, inputs=inputs, result=InferenceResult(list(parts.result.outputs[:1])))


def test_image_has_its_pixels_and_figures_in_headers(parts: ResponseParts) -> None:
    body, pairs = render(first_item(parts), PNG)
    headers = dict(pairs)
    assert (pixels(body) == 51).all()
    assert headers[b"content-type"] == b"image/png"
    assert (headers[b"x-model"], headers[b"x-model-version"], headers[b"vary"]) == (b"digits", b"1", b"Accept")
    assert float(headers[b"x-mse"]) == pytest.approx(0.04)
    assert float(headers[b"x-psnr"]) == pytest.approx(-10 * np.log10(0.04), rel=1e-5)


def test_json_has_a_result_for_each_item(parts: ResponseParts) -> None:
    body, _ = render(parts, JSON)
    results = json.loads(body)["results"]
    assert [result["mse"] for result in results] == pytest.approx([0.04, 0.04])


def test_array_has_all_outputs(parts: ResponseParts) -> None:
    body, _ = render(parts, NPY)
    array = read_npy(body)
    assert array.shape == (2, SIDE, SIDE, 1)
    assert (array == 51).all()


def test_json_reports_a_failed_item_in_its_place(parts: ResponseParts) -> None:
    inputs = replace(first_item(parts).inputs, problems={0: InvalidImage("broken")})
    body, _ = render(replace(parts, inputs=inputs, result=first_item(parts).result), JSON)
    failed, done = json.loads(body)["results"]
    assert failed["error"]["detail"] == "broken"
    assert done["mse"] == pytest.approx(0.04)


def test_failed_item_fails_an_array_and_is_named(parts: ResponseParts) -> None:
    result = InferenceResult([parts.result.outputs[0], InternalError("failed")])
    with pytest.raises(InternalError) as raised:
        render(replace(parts, result=result), NPY)
    assert raised.value.detail.startswith("item 1: failed; accept application/json")


def test_failed_single_item_fails_json(parts: ResponseParts) -> None:
    single = replace(first_item(parts), result=InferenceResult([InternalError("failed")]))
    with pytest.raises(InternalError, match=r"^failed$"):
        render(single, JSON)


def test_outputs_of_several_sizes_fit_no_array(parts: ResponseParts) -> None:
    outputs = [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5, 1), np.uint8)]
    with pytest.raises(NotAcceptable, match="format: images of several sizes"):
        render(replace(parts, result=InferenceResult(outputs)), NPY)

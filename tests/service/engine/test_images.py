"""Images around a model: what it is given, and what becomes of its output."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service import codec
from service.card import read_card
from service.codec import Picture
from service.config import Settings
from service.engine.images import postprocess, preprocess
from service.engine.noise_level import estimate_sigma
from tests.conftest import png
from tests.support.compatibility import accepts

FORMATS = ("png", "jpeg", "webp")
GREY = np.repeat(np.random.default_rng(0).integers(0, 256, (30, 20, 1), np.uint8), 3, 2)
HALFTONE = np.where(np.indices((30, 20)).sum(0)[:, :, np.newaxis] % 2, 255, 0).astype(np.uint8).repeat(3, 2)


def decode(blob: bytes) -> Picture:
    return codec.decode(blob, formats=FORMATS, max_pixels=1 << 20)


@accepts(
    7,
    "a gray photograph in three channels comes back without tint",
    oracle="the spread of the channels",
    cases="{kind}",
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("pixels", [GREY, HALFTONE], ids=["noise", "halftone"])
def test_a_tinted_output_of_a_grey_image_is_answered_grey(pixels: np.ndarray, kind: str) -> None:
    picture = decode(png(pixels, kind))
    tinted = np.clip(picture.pixels + np.array([9, -4, 6]), 0, 255).astype(np.uint8)
    answer = codec.encode(postprocess(tinted, picture, keep_metadata=True), picture.media_type)
    actual = np.asarray(Image.open(BytesIO(answer)))
    assert actual.shape == pixels.shape
    assert (actual == actual[:, :, :1]).all()


def test_an_output_equal_to_a_grey_input_is_not_changed() -> None:
    picture = decode(png(GREY))
    assert (postprocess(picture.pixels, picture, keep_metadata=True).pixels == GREY).all()


def cut_out(hidden: Any) -> bytes:
    """Noise in a disk, and `hidden` under full transparency around it."""
    rows, columns = np.indices((120, 160))
    disk = np.hypot(rows - 60, columns - 80) < 50
    noise = np.random.default_rng(4).normal(128, 10, (120, 160, 3)).round().astype(np.uint8)
    return png(np.dstack([np.where(disk[:, :, np.newaxis], noise, hidden), disk * 255]).astype(np.uint8))


HIDDEN = [0, 255, np.random.default_rng(5).integers(0, 256, (120, 160, 3))]


@accepts(
    8,
    "colours below full transparency: neither the model nor `X-Noise-Sigma` depends on them",
    oracle="the result of another hidden colour",
)
def test_hidden_pixels_do_not_reach_the_model_or_the_noise_level(models: Path) -> None:
    card = read_card((models / "photos/1/card.json").read_bytes())
    wide = card.model_copy(update={"receptive_radius": 20})
    rows: list[Any] = []
    sigmas: list[float | None] = []
    for hidden in HIDDEN:
        picture = decode(cut_out(hidden))
        assert picture.alpha is not None
        rows.append(preprocess(picture, wide, "denoise", Settings()))
        sigmas.append(estimate_sigma(rows[-1], picture.alpha > 0))
    assert all((row == rows[0]).all() for row in rows)
    assert sigmas == pytest.approx([10 / 255] * 3, rel=0.05)


@accepts(8, "a cut-out; its hidden pixels come back as they were sent", oracle="the pixels that were sent")
def test_a_cut_out_is_answered_with_its_hidden_pixels() -> None:
    picture = decode(cut_out(HIDDEN[2]))
    assert picture.alpha is not None
    answer = postprocess(255 - picture.pixels, picture, keep_metadata=True)
    hidden = picture.alpha == 0
    assert (answer.alpha == picture.alpha).all()
    assert (answer.pixels[hidden] == picture.pixels[hidden]).all()
    assert (answer.pixels[~hidden] == 255 - picture.pixels[~hidden]).all()

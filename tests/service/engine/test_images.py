"""Images around a model: what it is given, and what becomes of its output."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service import codec
from service.codec import Picture
from service.engine.images import postprocess
from tests.conftest import png

FORMATS = ("png", "jpeg", "webp")
GREY = np.repeat(np.random.default_rng(0).integers(0, 256, (30, 20, 1), np.uint8), 3, 2)
HALFTONE = np.where(np.indices((30, 20)).sum(0)[:, :, np.newaxis] % 2, 255, 0).astype(np.uint8).repeat(3, 2)


def decode(blob: bytes) -> Picture:
    return codec.decode(blob, formats=FORMATS, max_pixels=1 << 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("pixels", [GREY, HALFTONE], ids=["noise", "halftone"])
def test_a_tinted_output_of_a_grey_image_is_answered_grey(pixels: np.ndarray, kind: str) -> None:
    picture = decode(png(pixels, kind))
    tinted = np.clip(picture.pixels.astype(int) + [9, -4, 6], 0, 255).astype(np.uint8)
    answer = codec.encode(postprocess(tinted, picture, keep_metadata=True), picture.media_type)
    found = np.asarray(Image.open(BytesIO(answer)))
    assert found.shape == pixels.shape
    assert (found == found[:, :, :1]).all()


def test_an_output_equal_to_a_grey_input_is_not_changed() -> None:
    picture = decode(png(GREY))
    assert (postprocess(picture.pixels, picture, keep_metadata=True).pixels == GREY).all()

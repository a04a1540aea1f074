"""Transparent pixels: filled from the visible ones alone, by a mirror image that can be worked out by hand."""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service import codec
from service.codec import fill_transparent
from tests.support.compatibility import accepts

Array = NDArray[np.uint8]
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def alpha_of(rows: slice, columns: slice) -> Array:
    alpha = np.zeros(NOISE.shape[:2], np.uint8)
    alpha[rows, columns] = 255
    return alpha


@accepts(8, "pixels beside a transparent edge", oracle="the mirrored pixels")
def test_a_straight_edge_is_a_mirror() -> None:
    for turn in range(4):
        pixels = np.rot90(NOISE, turn)
        alpha = np.rot90(alpha_of(slice(None), slice(0, 30)), turn)
        filled = np.rot90(fill_transparent(pixels, alpha, 100), -turn)
        assert (filled[:, 30:] == NOISE[:, 28:8:-1]).all()
        assert (filled[:, :30] == NOISE[:, :30]).all()


@pytest.mark.parametrize("radius", [1, 5, 63, 1000])
@pytest.mark.parametrize(
    "alpha",
    [
        alpha_of(slice(10, 30), slice(5, 45)),
        alpha_of(slice(20, 21), slice(25, 26)),
        np.where(np.random.default_rng(1).random((40, 50)) < 0.5, 0, 255).astype(np.uint8),
        np.random.default_rng(2).integers(0, 3, (40, 50), np.uint8),
    ],
)
def test_hidden_pixels_have_no_influence(alpha: Array, radius: int) -> None:
    others = np.where(alpha[:, :, np.newaxis] == 0, 255 - NOISE, NOISE)
    filled = fill_transparent(NOISE, alpha, radius)
    assert (filled == fill_transparent(others, alpha, radius)).all()
    assert (filled[alpha > 0] == NOISE[alpha > 0]).all()


def test_the_corner_of_a_rectangle_is_filled_with_its_texture() -> None:
    filled = fill_transparent(NOISE, alpha_of(slice(15, 40), slice(20, 50)), 63)
    assert filled[:15, :20].std() == pytest.approx(NOISE.std(), rel=0.1)


def test_far_pixels_have_the_mean_colour() -> None:
    alpha = alpha_of(slice(None), slice(0, 5))
    assert np.abs(fill_transparent(NOISE, alpha, 3)[:, 20:] - NOISE[:, :5].mean((0, 1))).max() <= 0.5


def test_nothing_visible_is_black_and_nothing_hidden_is_kept() -> None:
    assert not fill_transparent(NOISE, np.zeros((40, 50), np.uint8), 9).any()
    opaque = np.full((40, 50), 1, np.uint8)
    assert fill_transparent(NOISE, opaque, 9) is NOISE


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_images_of_few_pixels_are_filled(shape: tuple[int, int]) -> None:
    pixels = NOISE[: shape[0], : shape[1]]
    alpha = np.zeros(shape, np.uint8)
    alpha[-1, -1] = 9
    assert (fill_transparent(pixels, alpha, 63) == pixels[-1, -1]).all()


@accepts(
    8,
    "straight and premultiplied TIFF",
    oracle="the pixels of the straight file",
    cases="premultiplied: {premultiplied}, compression: {compression}",
)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("premultiplied", [False, True])
def test_premultiplied_and_straight_files_mean_the_same(premultiplied: bool, compression: str | None) -> None:
    straight = np.full((6, 5, 4), (240, 120, 60, 128), np.uint8)
    stored = straight.copy()
    if premultiplied:
        stored[:, :, :3] = np.rint(straight[:, :, :3] * (128 / 255))
    out = BytesIO()
    Image.fromarray(stored).save(out, "TIFF", compression=compression)
    blob = out.getvalue()
    unspecified = b"\x52\x01\x03\0\x01\0\0\0\x02\0"  # the tag ExtraSamples (338): one short, 2 for straight alpha
    assert blob.count(unspecified) == 1
    if premultiplied:
        blob = blob.replace(unspecified, unspecified[:-2] + b"\x01\0")
    decoded = codec.decode(blob, formats=("tiff",), max_pixels=100)
    assert decoded.alpha is not None
    assert (decoded.alpha == 128).all()
    assert np.abs(decoded.pixels.astype(int) - straight[:, :, :3]).max() <= 2

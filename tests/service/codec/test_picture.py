"""Pictures and npy files, by property: round trips, and any bytes give an array or a Problem."""

from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from service import codec
from service.codec import Picture
from service.errors import ImageTooLarge, Problem
from tests.conftest import png

Array = NDArray[Any]
ALL = ("png", "jpeg", "webp", "tiff", "bmp", "gif")


@contextmanager
def or_problem(*statuses: int) -> Generator[None]:
    """Accept a block that succeeds or raises a Problem with one of these statuses."""
    try:
        yield
    except Problem as problem:
        if problem.status not in statuses:
            raise


def decode(blob: bytes, max_pixels: int = 1 << 20) -> Picture:
    return codec.decode(blob, formats=ALL, max_pixels=max_pixels)


MAGICS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x20\0\0\0WEBPVP8 ", b"II*\0", b"BM", b"GIF89a"]
sides = st.integers(1, 40)
pictures = st.tuples(sides, sides, st.sampled_from([1, 3])).flatmap(lambda shape: hnp.arrays(np.uint8, shape))
alphas = st.booleans()


@given(pixels=pictures, alpha=alphas)
@settings(max_examples=60, deadline=None)
def test_png_keeps_every_pixel_and_alpha(pixels: Array, alpha: bool) -> None:
    mask = np.roll(pixels[:, :, 0], 1) if alpha and pixels[:, :, 0].min() < 255 else None
    decoded = decode(codec.encode(Picture(pixels, "image/png", mask), "image/png"))
    assert (decoded.pixels == pixels).all()
    assert decoded.media_type == "image/png"
    assert decoded.alpha is None if mask is None else (decoded.alpha == mask).all()


@given(pixels=pictures)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("kind", ["image/jpeg", "image/webp"])
def test_jpeg_and_webp_keep_size_and_grey(kind: str, pixels: Array) -> None:
    decoded = decode(codec.encode(Picture(pixels, kind), kind))
    assert decoded.media_type == kind
    assert decoded.pixels.shape[:2] == pixels.shape[:2]
    if kind == "image/jpeg":
        assert decoded.pixels.shape == pixels.shape


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("magic", MAGICS)
def test_decoding_any_bytes_raises_only_problems(magic: bytes, data: bytes) -> None:
    with or_problem(413, 415, 422):
        assert decode(magic + data).pixels.dtype == np.uint8


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_decoding_corrupt_picture_raises_only_problems(kind: str, at: int, value: int) -> None:
    blob = bytearray(png(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8), kind))
    blob[at % len(blob)] = value
    with or_problem(413, 415, 422):
        decoded = decode(bytes(blob), max_pixels=10_000)
        assert decoded.pixels.shape[0] * decoded.pixels.shape[1] <= 10_000


dtypes = st.sampled_from([np.dtype(kind) for kind in ("u1", "<f4", ">f4", "<f8", ">i2", "?", "<f2")])


@given(array=hnp.arrays(dtypes, hnp.array_shapes(max_dims=5, max_side=5)), fortran=st.booleans())
@settings(max_examples=100, deadline=None)
def test_npy_equals_the_array_that_numpy_reads(array: Array, fortran: bool) -> None:
    out = BytesIO()
    np.save(out, np.asfortranarray(array) if fortran else array)
    array_read = codec.read_npy(out.getvalue())
    assert array_read.dtype.isnative
    np.testing.assert_array_equal(array_read, array)
    again = BytesIO(codec.write_npy(array_read))
    np.testing.assert_array_equal(np.load(again, allow_pickle=False), array)


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_reading_any_npy_bytes_raises_only_problems(data: bytes) -> None:
    with or_problem(400, 422):
        codec.read_npy(b"\x93NUMPY\x01\0" + data)


def test_pixel_limit_is_checked_before_decoding() -> None:
    blob = png(np.zeros((10, 10, 1), np.uint8))
    assert codec.LazyPicture(blob, formats=ALL, max_pixels=100).width == 10
    with pytest.raises(ImageTooLarge):
        codec.LazyPicture(blob[:60], formats=ALL, max_pixels=99)


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA", "I;16"])
def test_picture_is_equal_in_every_pillow_mode(mode: str) -> None:
    image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    out = BytesIO()
    image.save(out, "PNG")
    decoded = decode(out.getvalue())
    assert decoded.alpha is None
    assert (codec.fit_to_size(decoded.pixels, None, None, 1)[:, :, 0] == GREY).all()


def test_cmyk_is_converted_to_rgb() -> None:
    blob = png(np.full((8, 8, 3), (250, 10, 10), np.uint8))
    out = BytesIO()
    Image.open(BytesIO(blob)).convert("CMYK").save(out, "JPEG", quality=95)
    assert decode(out.getvalue()).pixels.mean(axis=(0, 1)) == pytest.approx([250, 10, 10], abs=6)


def test_icc_profile_is_kept() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode(png(np.zeros((4, 4, 3), np.uint8), icc_profile=profile))
    for kind in codec.ENCODABLE:
        assert decode(codec.encode(picture, kind)).icc == profile


def test_corrupt_exif_is_ignored() -> None:
    blob = png(np.full((4, 4, 3), 9, np.uint8), "JPEG", exif=b"Exif\0\0nonsense")
    assert decode(blob).pixels.shape == (4, 4, 3)


def test_downscaling_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (80, 40))[:, :, None]
    assert np.abs(codec.fit_to_size(stripes, 10, 10, 1)[:, 1:-1] - 127.5).max() < 3  # even grey, no stripes
    assert codec.fit_to_size(stripes, 10, 10, 3).shape == (10, 10, 3)


@given(pixels=pictures)
@settings(max_examples=30, deadline=None)
def test_picture_of_the_right_size_is_not_copied(pixels: Array) -> None:
    assert codec.fit_to_size(pixels, pixels.shape[0], pixels.shape[1], pixels.shape[2]) is pixels


@pytest.mark.parametrize(("background", "expected"), [("black", 50), ("white", 50 + 204)])
def test_alpha_is_composited_on_the_background(background: Any, expected: int) -> None:
    pixels, alpha = np.full((1, 1, 3), 250, np.uint8), np.full((1, 1), 51, np.uint8)
    assert (codec.composite(pixels, alpha, background) == expected).all()

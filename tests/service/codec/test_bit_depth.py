"""More than 8 bits, fewer than they seem, one bit, palettes, floats: the oracle is the arithmetic of the scale."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service import codec
from service.codec import Picture
from service.errors import InvalidImage
from tests.support.compatibility import accepts, refuses

Array = NDArray[Any]
RAMP = np.linspace(0, 1, 24 * 16).reshape(24, 16)  # covers the whole range


def decode(blob: bytes) -> Picture:
    return codec.decode(blob, formats=("png", "jpeg", "tiff", "webp", "gif", "bmp"), max_pixels=1 << 20)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def wide_png(samples: Array, significant: int | None = None, key: bytes = b"") -> bytes:
    """A PNG of 16 bits, H,W,C, written by hand: Pillow writes grey only."""
    height, width, channels = samples.shape
    colour_type = (0, 4, 2, 6)[channels - 1]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    body = zlib.compress(np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes())
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    stated = chunk(b"sBIT", bytes([significant] * channels)) if significant else b""
    transparent = chunk(b"tRNS", key) if key else b""
    chunks = (chunk(b"IHDR", head), stated, transparent, chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(image: Image.Image, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, "TIFF", **options)
    return out.getvalue()


def channels(samples: Array, count: int) -> Array:
    """Colours, and opaque alpha where the count is even."""
    bands = [np.roll(samples, shift, 0) for shift in range((count - 1) // 2 * 2 + 1)]
    return np.dstack(bands + [np.full_like(samples, samples.max())] * (1 - count % 2))


@accepts(
    7,
    "10, 12 or 14 significant bits in a 16-bit PNG",
    oracle="the samples, shifted",
    cases="{bits} bits, {count} channels, sBIT: {stated}",
)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_unscaled_samples_are_neither_black_nor_clipped(bits: int, stated: bool, count: int) -> None:
    samples = channels(np.rint(RAMP * ((1 << bits) - 1)).astype(np.uint16), count)
    decoded = decode(wide_png(samples, bits if stated else None))
    colours = (count - 1) // 2 * 2 + 1
    assert decoded.bit_depth == bits
    assert decoded.alpha is None
    assert (decoded.pixels == (samples[:, :, :colours] >> (bits - 8))).all()


@accepts(7, "16-bit samples that were scaled from fewer", oracle="the samples, shifted", cases="{count} channels")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_scaled_samples_of_few_bits_keep_their_brightness(count: int) -> None:
    twelve = channels(np.rint(RAMP * 4095).astype(np.uint16), count)
    replicated = twelve << 4 | twelve >> 8
    decoded = decode(wide_png(replicated, 12))
    assert decoded.bit_depth == 12
    assert (decoded.pixels == (twelve[:, :, : decoded.pixels.shape[2]] >> 4)).all()


@accepts(7, "a dark 16-bit image", oracle="the samples, shifted", cases="times {factor}, {count} channels")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("factor", [16, 256, 257])
def test_a_dark_scaled_image_stays_dark(factor: int, count: int) -> None:
    dark = channels(np.rint(RAMP * 60).astype(np.uint16), count) * factor
    decoded = decode(wide_png(dark))
    assert decoded.bit_depth == 16
    assert (decoded.pixels == dark >> 8).all()


@accepts(7, "16-bit images", oracle="the high byte", cases="{count} channels")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_sixteen_bits_give_their_high_byte(count: int) -> None:
    samples = channels(np.rint(RAMP * 65535).astype(np.uint16), count)
    decoded = decode(wide_png(samples))
    assert (decoded.bit_depth, decoded.alpha) == (16, None)
    assert (decoded.pixels == samples[:, :, : decoded.pixels.shape[2]] >> 8).all()


def test_alpha_of_the_full_range_beside_unscaled_colours() -> None:
    samples = channels(np.rint(RAMP * 4095).astype(np.uint16), 4)
    samples[:, :, 3] = 0x8000
    decoded = decode(wide_png(samples, 12))
    assert decoded.alpha is not None
    assert (decoded.alpha == 0x80).all()
    assert (decoded.pixels == samples[:, :, :3] >> 4).all()


@accepts(7, "a transparent colour of 16 bits", oracle="the key of the file", cases="{count} channels")
@pytest.mark.parametrize("count", [1, 3])
def test_a_transparent_colour_of_sixteen_bits(count: int) -> None:
    samples = channels(np.rint(RAMP * 65535).astype(np.uint16), count)
    decoded = decode(wide_png(samples, key=samples[3, 4].astype(">u2").tobytes()))
    assert decoded.alpha is not None
    assert np.argwhere(decoded.alpha == 0).tolist() == [[3, 4]]


@accepts(
    7, "gray TIFF of 12 and 16 bits", oracle="the samples, shifted", cases="{bits} bits, compression: {compression}"
)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("bits", [12, 16])
def test_grey_tiff_of_sixteen_bits(bits: int, compression: str | None) -> None:
    samples = np.rint(RAMP * ((1 << bits) - 1)).astype(np.uint16)
    decoded = decode(tiff(Image.fromarray(samples), compression=compression))
    assert decoded.bit_depth == bits
    assert (decoded.pixels[:, :, 0] == samples >> (bits - 8)).all()


def test_a_tiff_where_white_is_zero_is_not_a_negative() -> None:
    samples = np.rint(RAMP * 65535).astype(np.uint16)
    blob = tiff(Image.fromarray(samples), tiffinfo={262: 0})
    assert Image.open(BytesIO(blob)).tag_v2[262] == 0  # pyright: ignore[reportAttributeAccessIssue]
    assert (decode(blob).pixels[:, :, 0] == 255 - (samples >> 8)).all()


@accepts(7, "float TIFF", oracle="the samples, scaled", cases="up to {full}")
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize(("full", "tolerance"), [(1.0, 0), (1.5, 0), (255.0, 0), (4095.0, 0), (65535.0, 0), (1e6, 0)])
def test_floats_are_scaled_by_their_range(full: float, tolerance: int, compression: str | None) -> None:
    decoded = decode(tiff(Image.fromarray((RAMP * full).astype(np.float32)), compression=compression))
    assert decoded.bit_depth == 32
    assert np.abs(decoded.pixels[:, :, 0] - np.rint(RAMP * 255)).max() <= tolerance


def test_negative_floats_are_shifted_and_nothing_is_clipped() -> None:
    decoded = decode(tiff(Image.fromarray((RAMP - 0.5).astype(np.float32))))
    assert (decoded.pixels[:, :, 0] == np.rint(RAMP * 255)).all()


@refuses(7, "float TIFF with values that are no numbers", because="the value is named, 422", cases="{value}")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_named(value: float) -> None:
    samples = RAMP.astype(np.float32)
    samples[3, 3] = value
    with pytest.raises(InvalidImage, match="not finite"):
        decode(tiff(Image.fromarray(samples)))


@accepts(7, "TIFF of 32-bit integers", oracle="the samples, scaled", cases="up to {full}")
@pytest.mark.parametrize("full", [255, 4095, 65535, (1 << 24) - 1, (1 << 31) - 1])
def test_integers_of_32_bits_are_scaled_by_their_range(full: int) -> None:
    samples = np.rint(RAMP * full).astype(np.int32)
    decoded = decode(tiff(Image.fromarray(samples)))
    assert (decoded.pixels[:, :, 0] == samples >> (full.bit_length() - 8)).all()


@accepts(7, "palettes with transparency; gray with alpha", oracle="Pillow")
def test_palette_with_transparency_and_grey_with_alpha() -> None:
    alpha = np.rint(RAMP * 255).astype(np.uint8)
    grey = np.dstack([alpha[::-1], alpha])
    out = BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    decoded = decode(out.getvalue())
    assert (decoded.pixels[:, :, 0] == grey[:, :, 0]).all()
    assert decoded.alpha is not None
    assert (decoded.alpha == alpha).all()
    palette = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    out = BytesIO()
    palette.save(out, "PNG", transparency=bytes([0, 128, 255]))
    decoded = decode(out.getvalue())
    assert decoded.pixels.reshape(-1, 3).tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]]
    assert decoded.alpha is not None
    assert decoded.alpha.ravel().tolist() == [0, 128, 255, 255]


@accepts(7, "images of one bit", oracle="Pillow", cases="{kind}")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_is_black_and_white(kind: str) -> None:
    bits = RAMP > 0.5
    out = BytesIO()
    Image.fromarray(bits).save(out, kind)
    decoded = decode(out.getvalue())
    assert decoded.grey
    assert (decoded.pixels[:, :, 0] == bits * 255).all()


@accepts(7, "gray content in three channels is treated as gray", oracle="the channels of the result", cases="{kind}")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_grey_of_three_channels_is_recognised(kind: str) -> None:
    grey = np.rint(RAMP * 255).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(np.dstack([grey] * 3)).save(out, kind)
    assert decode(out.getvalue()).grey
    colour = np.dstack([grey] * 3)
    colour[16:, :8] = (200, 40, 40)
    out = BytesIO()
    Image.fromarray(colour).save(out, kind)
    assert not decode(out.getvalue()).grey


def test_colours_under_full_transparency_are_not_seen() -> None:
    grey = np.dstack([np.rint(RAMP * 255).astype(np.uint8)] * 3 + [np.full(RAMP.shape, 255, np.uint8)])
    grey[:5] = (255, 0, 0, 0)
    out = BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    assert decode(out.getvalue()).grey

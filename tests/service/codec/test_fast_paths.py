"""The fast decoders of plain pictures: they are used, and give the pixels and errors of the reference."""

import struct
import zlib
from io import BytesIO
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from service import codec
from service.codec import LazyPicture, Picture, is_fast_path, picture
from service.codec.png import MIN_DEFLATE_BYTES, SimplePng
from service.errors import Problem
from tests.conftest import png

Array = NDArray[Any]
ALL = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
sides = st.integers(1, 70)


def opened(blob: bytes) -> LazyPicture:
    return LazyPicture(blob, formats=ALL, max_pixels=1 << 20)


def verdict(blob: bytes) -> tuple[Any, ...]:
    """Return everything that a response can depend on: the decoded picture, or the problem."""
    try:
        decoded = opened(blob).decode()
    except Problem as problem:
        return problem.status, problem.type, problem.detail
    alpha = None if decoded.alpha is None else decoded.alpha.tobytes()
    return decoded.pixels.shape, decoded.pixels.tobytes(), alpha, decoded.media_type, decoded.icc, decoded.bit_depth


def reference(blob: bytes) -> tuple[Any, ...]:
    """Return the verdict of Pillow only."""
    with patch.dict(picture.FAST_PARSERS, clear=True):
        return verdict(blob)


def written(pixels: Array, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(out, kind, **options)
    return out.getvalue()


def smooth(height: int, width: int, channels: int) -> Array:
    """Return waves with some noise, so that every PNG row filter is used: uint8 H,W,C."""
    y, x, c = np.mgrid[:height, :width, :channels]
    noise = np.random.default_rng(height * width).integers(0, 9, y.shape)
    return (118 + 100 * np.sin(y / 7 + c) * np.cos(x / 5) + noise).astype(np.uint8)


def strokes(height: int, width: int) -> Array:
    """Return a bright ring on black, similar to a digit: uint8 H,W,1."""
    y, x = np.mgrid[:height, :width]
    distance = np.abs(np.hypot(y - height / 2, x - width / 2) - min(height, width) / 3)
    light = 255 * np.exp(-((distance / 2) ** 2))
    return np.where(light < 20, 0, light).astype(np.uint8)[:, :, np.newaxis]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(blob: bytes) -> list[tuple[bytes, bytes]]:
    parts: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(blob):
        length = int.from_bytes(blob[at : at + 4])
        parts.append((blob[at + 4 : at + 8], blob[at + 8 : at + 8 + length]))
        at += 12 + length
    return parts


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def with_chunk(blob: bytes, kind: bytes, body: bytes, place: int = 1) -> bytes:
    parts = chunks(blob)
    return joined([*parts[:place], (kind, body), *parts[place:]])


shapes = st.tuples(sides, sides, st.integers(1, 4))
any_pixels = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape)) | shapes.map(lambda shape: smooth(*shape))


@given(pixels=any_pixels, level=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_plain_png_equals_the_reference(pixels: Array, level: int) -> None:
    blob = written(pixels, "PNG", compress_level=level)
    assert is_fast_path(blob)
    assert verdict(blob) == reference(blob)


@given(pixels=any_pixels, cuts=st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=80, deadline=None)
def test_several_idat_chunks_are_joined(pixels: Array, cuts: list[int]) -> None:
    head, (_, body), end = chunks(written(pixels, "PNG"))
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [(b"IDAT", body[start:stop]) for start, stop in pairwise(places)]
    blob = joined([head, *pieces, end])
    assert is_fast_path(blob)
    assert verdict(blob) == reference(blob)


def test_data_over_pillow_block_size_equal_the_reference() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for blob in (png(noise, compress_level=1), codec.encode(Picture(noise, ""), "image/png")):
        assert is_fast_path(blob)
        assert (opened(blob).decode().pixels == noise).all()
        assert verdict(blob[:-3000] + blob[-12:]) == reference(blob[:-3000] + blob[-12:])


@given(
    pixels=any_pixels.filter(lambda pixels: pixels.shape[2] in (1, 3)),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    rows=st.integers(0, 2),
)
@settings(max_examples=200, deadline=None)
def test_plain_jpeg_equals_the_reference(
    pixels: Array, quality: int, subsampling: int, progressive: bool, rows: int
) -> None:
    blob = written(
        pixels,
        "JPEG",
        quality=quality,
        subsampling=subsampling,
        progressive=progressive,
        restart_marker_rows=rows,
    )
    assert is_fast_path(blob) or pixels.shape[2] == 1
    assert verdict(blob) == reference(blob)


GREY, RGB, RGBA = smooth(9, 11, 1), smooth(9, 11, 3), smooth(9, 11, 4)
PLAIN = {
    "grey PNG": written(GREY, "PNG"),
    "strokes": written(strokes(9, 11), "PNG", compress_level=1),
    "RGB PNG": written(RGB, "PNG"),
    "alpha PNG": written(RGBA, "PNG"),
    "our PNG": codec.encode(Picture(GREY, ""), "image/png"),
    "PNG with density": written(RGB, "PNG", dpi=(72, 72)),
    "PNG with gamma": with_chunk(written(RGB, "PNG"), b"gAMA", struct.pack(">I", 45455)),
    "grey JPEG": written(GREY, "JPEG"),
    "RGB JPEG": written(RGB, "JPEG", quality=90),
    "progressive JPEG": written(RGB, "JPEG", progressive=True),
    "JPEG with a comment": written(RGB, "JPEG", comment=b"hello"),
}


def text(key: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(key, "1")
    return info


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def mode(name: str, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(RGB).convert(name).save(out, kind, **options)
    return out.getvalue()


HEAD = struct.pack(">IIBBBBB", 11, 9, 8, 2, 0, 0, 1)
SPECIAL = {
    "palette": mode("P", "PNG"),
    "one bit": mode("1", "PNG"),
    "sixteen bits": written(GREY.astype(np.uint16) * 257, "PNG"),
    "interlaced": joined([(b"IHDR", HEAD), *chunks(PLAIN["RGB PNG"])[1:]]),
    "transparent grey": written(GREY, "PNG", transparency=int(GREY[0, 0, 0])),
    "transparent colour": written(RGB, "PNG", transparency=(1, 2, 3)),
    "PNG with a profile": written(RGB, "PNG", icc_profile=b"x" * 200),
    "PNG turned": written(RGB, "PNG", exif=turned()),
    "text that means something": written(GREY, "PNG", pnginfo=text("transparency")),
    "text behind the data": with_chunk(PLAIN["RGB PNG"], b"tEXt", b"transparency\0" + b"1", 2),
    "animated": written(RGB, "PNG", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]),
    "PNG of many chunks": joined([*chunks(PLAIN["RGB PNG"])[:-1], *[(b"IDAT", b"")] * 5000, (b"IEND", b"")]),
    "JPEG of many comments": PLAIN["RGB JPEG"][:20] + b"\xff\xfe\0\2" * 100 + PLAIN["RGB JPEG"][20:],
    "PNG with a tail": PLAIN["RGB PNG"] + b"tail",
    "JPEG turned": written(RGB, "JPEG", exif=turned()),
    "JPEG with a profile": written(RGB, "JPEG", icc_profile=b"x" * 200),
    "CMYK": mode("CMYK", "JPEG"),
    "JPEG that is RGB inside": written(RGB, "JPEG", keep_rgb=True),
    "WebP": written(RGB, "WEBP"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_picture_is_decoded_by_the_fast_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reference(PLAIN[name])
    monkeypatch.delattr(picture.Image, "open")
    assert verdict(PLAIN[name]) == expected


@pytest.mark.parametrize("name", SPECIAL)
def test_other_pictures_are_decoded_by_pillow(name: str) -> None:
    assert not is_fast_path(SPECIAL[name])
    assert verdict(SPECIAL[name]) == reference(SPECIAL[name])


@pytest.mark.parametrize("name", PLAIN)
def test_truncated_picture_has_the_reference_result(name: str) -> None:
    blob = PLAIN[name]
    ends = (b"", b"\0", b"\xff\xd9", blob[-12:])
    for at in range(len(blob)):
        for end in ends:
            assert verdict(blob[:at] + end) == reference(blob[:at] + end), (at, end)
    for tail in (b"\0", b"\xff\xd9", blob):
        assert verdict(blob + tail) == reference(blob + tail)


@pytest.mark.parametrize("name", PLAIN)
def test_corrupt_byte_has_the_reference_result(name: str) -> None:
    draw = np.random.default_rng(len(PLAIN[name]))
    for at in range(len(PLAIN[name])):
        for value in {*draw.integers(0, 256, 3).tolist(), PLAIN[name][at] ^ 1}:
            blob = bytearray(PLAIN[name])
            blob[at] = value
            assert verdict(bytes(blob)) == reference(bytes(blob)), (at, value)


@pytest.mark.parametrize("name", [name for name in PLAIN if "PNG" in name])
def test_corrupt_chunk_with_valid_crc_has_the_reference_result(name: str) -> None:
    draw = np.random.default_rng(1)
    parts = chunks(PLAIN[name])
    for place, (kind, body) in enumerate(parts):
        for at in range(len(body)):
            for changed in (
                body[:at] + bytes((int(draw.integers(256)),)) + body[at + 1 :],
                body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :],
                body[:at],
                body[:at] + body[at + 1 :],
            ):
                blob = joined([*parts[:place], (kind, changed), *parts[place + 1 :]])
                assert verdict(blob) == reference(blob), (kind, at, changed)


def test_fast_path_failure_falls_back_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: SimplePng) -> Array:
        raise MemoryError

    expected = verdict(PLAIN["RGB PNG"])
    monkeypatch.setattr(SimplePng, "pixels", fail)
    assert verdict(PLAIN["RGB PNG"]) == expected


@given(pixels=any_pixels)
@settings(max_examples=150, deadline=None)
def test_pillow_reads_encoded_png(pixels: Array) -> None:
    channels = pixels.shape[2]
    alpha = None if channels in (1, 3) else pixels[:, :, -1]
    colour = pixels if alpha is None else pixels[:, :, :-1]
    blob = codec.encode(Picture(colour, "", alpha), "image/png")
    decoded = np.asarray(Image.open(BytesIO(blob)))
    assert (decoded.reshape(pixels.shape) == pixels).all()
    assert len(blob) < 1.02 * pixels.size + 200  # incompressible data grows hardly at all


@pytest.mark.parametrize("side", [1, 28, 34])
def test_small_png_is_stored_as_zlib_stores_it(side: int) -> None:
    pixels = smooth(side, side, 1)
    (data,) = (body for kind, body in chunks(codec.encode(Picture(pixels, ""), "image/png")) if kind == b"IDAT")
    assert data == zlib.compress(zlib.decompress(data), 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [28, 64, 300])
def test_encoded_png_is_hardly_larger_than_by_pillow(side: int, channels: int) -> None:
    pixels = smooth(side, side, channels)
    alpha = pixels[:, :, 3] if channels == 4 else None
    blob = codec.encode(Picture(pixels[:, :, :3], "", alpha), "image/png")
    one_packet = side * (side * channels + 1) <= MIN_DEFLATE_BYTES
    assert len(blob) <= (MIN_DEFLATE_BYTES if one_packet else 1.15 * len(written(pixels, "PNG", compress_level=1)))


@pytest.mark.parametrize("side", [28, 64, 300])
def test_strokes_are_smaller_than_by_pillow_or_fit_a_packet(side: int) -> None:
    blob = codec.encode(Picture(strokes(side, side), ""), "image/png")
    one_packet = side * (side + 1) <= MIN_DEFLATE_BYTES
    assert len(blob) <= (
        MIN_DEFLATE_BYTES if one_packet else len(written(strokes(side, side), "PNG", compress_level=1))
    )

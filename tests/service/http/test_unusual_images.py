"""Image files as users of similar services reported them: answered with their pixels, or refused with the cause."""

import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from starlette.testclient import TestClient

from service.config import Settings
from service.http.app import create_app
from service.http.dispatcher import Dispatcher
from tests.support.image_files import (
    XMP,
    Array,
    before_end,
    bmp,
    chunk,
    exif,
    gif_with_xmp,
    profile_segments,
    saved,
    segment,
    waves,
    with_chunks,
    with_segments,
)

RGB, GREY = waves(40, 56), waves(40, 56, 1)
RGBA = np.dstack([RGB, GREY])
RGBA[:8] = 0
GREY_RGB = np.repeat(GREY, 3, axis=2)
JPEG, PNG, GIF = saved(RGB, "JPEG", quality=95, subsampling=0), saved(RGB, "PNG"), saved(GREY, "GIF")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILE = profile_segments(SRGB, 100)
SOF = JPEG.index(b"\xff\xc0")


@dataclass(frozen=True, slots=True)
class Answer:
    """The expected answer: pixels within a mean difference (0 to 255), or the words of a refusal."""

    data: bytes
    pixels: Array | None = None
    tolerance: float = 0.0
    dropped: str = ""
    status: int = 200
    words: str = ""


def refused(data: bytes, status: int, words: str) -> Answer:
    return Answer(data, status=status, words=words)


def jpeg(*segments: bytes, dropped: str = "", pixels: Array = RGB) -> Answer:
    return Answer(with_segments(JPEG, *segments), pixels, 1.0, dropped)


def turned(orientation: int, pixels: Array = RGB, **options: Any) -> Answer:
    return jpeg(segment(0xE1, b"Exif\0\0" + exif(orientation, **options)), pixels=pixels)


def png16(pixels: Array, colour_type: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return _png16(pixels, colour_type, 0, rows)


def interlaced16(pixels: Array) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = (pixels[y::dy, x::dx] for y, x, dy, dx in passes)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    return _png16(pixels, 2, 1, rows)


def _png16(pixels: Array, colour_type: int, interlaced: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, interlaced)
    return PNG[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def dib(height: int, bits: int, body: bytes, palette: bytes = b"", compression: int = 0, masks: bytes = b"") -> bytes:
    offset = 14 + 40 + len(masks) + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40 + len(masks), 56, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + masks + palette + body


def bmp16() -> bytes:
    red, green, blue = (RGB[::-1, :, channel].astype("<u2") >> 3 for channel in range(3))
    return dib(40, 16, (red << 10 | green << 5 | blue).astype("<u2").tobytes())


def bmp_rle() -> bytes:
    palette = b"".join(bytes((value, value, value, 0)) for value in range(256))
    rows = (b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in GREY[::-1, :, 0])
    return dib(40, 8, b"".join(rows) + b"\0\1", palette, 1)


def bmp_alpha() -> bytes:
    body = np.dstack([RGB[::-1, :, ::-1], RGBA[::-1, :, 3]]).tobytes()
    return dib(40, 32, body, compression=3, masks=struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000))


def wide_tiff(samples: Array, sample_format: int, orientation: int = 1) -> bytes:
    """Return a TIFF file of H,W,C samples of any type, which Pillow cannot write."""
    height, width, channels = samples.shape
    body = samples.tobytes()
    bits, formats_at = 8 + 2 + 12 * 11 + 4, 8 + 2 + 12 * 11 + 4 + 2 * channels
    body_at = formats_at + 2 * channels
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, body_at), (274, 3, 1, orientation), (277, 3, 1, channels), (278, 3, 1, height)]
    entries += [(279, 4, 1, len(body)), (339, 3, channels, formats_at)]
    rows = b""
    for tag, kind, count, value in entries:  # a single short stands at the beginning of its field, as a long does
        rows += struct.pack("<HHII", tag, kind, count, value)
    values = struct.pack(f"<{channels}H", *[samples.dtype.itemsize * 8] * channels)
    values += struct.pack(f"<{channels}H", *[sample_format] * channels)
    return b"II*\0" + struct.pack("<IH", 8, 11) + rows + bytes(4) + values + body


def image(mode: str) -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


def by_pillow(kind: str, source: Image.Image | None = None, **options: Any) -> bytes:
    file = BytesIO()
    (source or image("RGB")).save(file, kind, **options)
    return file.getvalue()


def with_frames(kind: str) -> bytes:
    return by_pillow(kind, save_all=True, append_images=[Image.fromarray(255 - RGB)], duration=50)


PALETTE = by_pillow("PNG", image("RGB").quantize(32))
CASES: dict[str, Answer] = {
    "a thumbnail with an end marker": turned(1, thumbnail=saved(RGB[:16, :16], "JPEG")),
    "a second image": Answer(with_segments(JPEG, segment(0xE2, b"MPF\0II*\0" + bytes(20))) + JPEG, RGB, 1, "other"),
    "MPO": Answer(
        by_pillow("MPO", save_all=True, append_images=[image("L").convert("RGB")], quality=95), RGB, 2, "other"
    ),
    "a profile out of order": jpeg(*reversed(PROFILE)),
    "a profile with a gap": jpeg(PROFILE[0], *PROFILE[2:], dropped="icc"),
    "a profile numbered from 0": jpeg(segment(0xE2, b"ICC_PROFILE\0\0\1" + SRGB), dropped="icc"),
    "a profile of no parts": jpeg(segment(0xE2, b"ICC_PROFILE\0\1\0" + SRGB), dropped="icc"),
    "RGB in a JPEG": Answer(by_pillow("JPEG", quality=95, keep_rgb=True), RGB, 1),
    "YCCK": Answer(by_pillow("JPEG", image("CMYK"), quality=95), RGB, 1),
    "orientation 0": turned(0),
    "orientation 6": turned(6, np.rot90(RGB, -1)),
    "orientation 9": turned(9),
    "little-endian EXIF": turned(3, RGB[::-1, ::-1], order="<"),
    "a comment in UTF-16": jpeg(segment(0xFE, "\ufeffhi".encode("utf-16-le"))),
    "a JPEG without JFIF": Answer(JPEG[:2] + JPEG[20:], RGB, 1),
    "a JPEG of 12 bits": refused(
        JPEG[:SOF] + b"\xff\xc1\0\x11\x0c" + JPEG[SOF + 5 :], 415, "a JPEG of 12 bits per sample"
    ),
    "a lossless JPEG": refused(JPEG[:SOF] + b"\xff\xc3" + JPEG[SOF + 2 :], 415, "a lossless JPEG"),
    "a JPEG without height": refused(
        JPEG[: SOF + 5] + b"\0\0" + JPEG[SOF + 7 :], 415, "states its height only at its end"
    ),
    "data behind a PNG": Answer(PNG + b"x" * 100, RGB, 0, "trailer"),
    "text behind the pixels": Answer(before_end(PNG, chunk(b"tEXt", b"Comment\0late")), RGB),
    "compressed XMP": Answer(
        with_chunks(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))), RGB
    ),
    "cICP": Answer(with_chunks(PNG, chunk(b"cICP", bytes((9, 16, 0, 1)))), RGB),
    "sBIT of 9 bits": Answer(with_chunks(PNG, chunk(b"sBIT", b"\x09\x09\x09")), RGB),
    "a short sBIT": Answer(with_chunks(PNG, chunk(b"sBIT", b"\x05")), RGB),
    "sBIT of 0 bits": Answer(with_chunks(PNG, chunk(b"sBIT", bytes(3))), RGB),
    "a transparent colour": Answer(saved(RGB, "PNG", transparency=tuple(RGB[3, 3].tolist())), RGB),
    "a transparent grey": Answer(saved(GREY, "PNG", transparency=int(GREY[3, 3, 0])), GREY_RGB),
    "a transparent palette": Answer(
        by_pillow("PNG", image("RGB").quantize(32), transparency=bytes(range(0, 256, 8))),
        np.asarray(Image.open(BytesIO(PALETTE)).convert("RGB")),
    ),
    "APNG": Answer(with_frames("PNG"), RGB, 0, "frames"),
    "16 bits interlaced": Answer(interlaced16(RGB.astype(np.uint16) * 257), RGB),
    "16 bits with alpha": Answer(png16(RGBA.astype(np.uint16) * 257, 6), RGBA[:, :, :3]),
    "16 bits grey with alpha": Answer(
        png16(RGBA[:, :, 2:].astype(np.uint16) * 257, 4), np.repeat(RGBA[:, :, 2:3], 3, 2)
    ),
    "one pixel": Answer(saved(RGB[:1, :1], "PNG"), RGB[:1, :1]),
    "one column": Answer(saved(RGB[:, :1], "PNG"), RGB[:, :1]),
    "one row": Answer(saved(RGB[:1], "PNG"), RGB[:1]),
    "EXIF in a PNG": Answer(with_chunks(PNG, chunk(b"eXIf", exif(6))), np.rot90(RGB, -1)),
    "a PNG of Apple's tools": Answer(PNG[:8] + chunk(b"CgBI", bytes(4)) + PNG[8:], RGB),
    "a PNG without its end": Answer(PNG[:-12], RGB),
    "GIF of 1987": Answer(b"GIF87a" + GIF[6:], GREY_RGB),
    "GIF with XMP": Answer(gif_with_xmp(GIF), GREY_RGB),
    "animated WebP": Answer(with_frames("WEBP"), RGB, 4, "frames"),
    "lossless WebP with alpha and profile": Answer(
        by_pillow("WEBP", Image.fromarray(RGBA), lossless=True, exact=True, icc_profile=SRGB), RGBA[:, :, :3]
    ),
    "BMP with runs": Answer(bmp_rle(), GREY_RGB),
    "BMP of 16 bits": Answer(bmp16(), RGB, 4),
    "BMP from top to bottom": Answer(dib(-40, 24, RGB[:, :, ::-1].tobytes()), RGB),
    "BMP with alpha": Answer(bmp_alpha(), RGB),
    "BMP with a profile": Answer(bmp(RGB, profile=SRGB), RGB),
    "BMP cut off": refused(saved(RGB, "BMP")[:-900], 422, "truncated=allow"),
    "BigTIFF": Answer(by_pillow("TIFF", big_tiff=True), RGB),
    "TIFF with LZW and predictor": Answer(by_pillow("TIFF", compression="tiff_lzw", tiffinfo={317: 2}), RGB),
    "TIFF with JPEG": Answer(by_pillow("TIFF", compression="jpeg", quality=95), RGB, 1),
    "TIFF with PackBits": Answer(by_pillow("TIFF", compression="packbits"), RGB),
    "TIFF with white as zero": Answer(by_pillow("TIFF", Image.fromarray(GREY[:, :, 0]), tiffinfo={262: 0}), GREY_RGB),
    "TIFF turned": Answer(by_pillow("TIFF", tiffinfo={274: 6}), np.rot90(RGB, -1)),
    "TIFF of CMYK": Answer(by_pillow("TIFF", image("CMYK")), RGB),
    "TIFF of YCbCr": Answer(by_pillow("TIFF", image("YCbCr")), RGB, 2),
    "TIFF of two pages": Answer(by_pillow("TIFF", save_all=True, append_images=[image("L")]), RGB, 0, "frames"),
    "TIFF of floats": Answer(wide_tiff((RGB / 255).astype("<f4"), 3), RGB),
    "TIFF of floats to 255": Answer(wide_tiff(RGB.astype("<f4"), 3), RGB),
    "TIFF of floats with a fourth sample": Answer(wide_tiff((np.dstack([RGB, GREY]) / 255).astype("<f4"), 3), RGB),
    "TIFF of 32 bits": Answer(wide_tiff(RGB.astype("<u4") * 0x1010101, 1), RGB),
    "TIFF of doubles": refused(wide_tiff((RGB / 255).astype("<f8"), 3), 422, "samples of a kind that cannot be read"),
    "TIFF of floats turned": refused(wide_tiff((RGB / 255).astype("<f4"), 3, 6), 422, "samples of a kind"),
    "TIFF of floats without number": refused(wide_tiff(RGB * np.float32("nan"), 3), 422, "not finite"),
    "AVIF": Answer(by_pillow("AVIF", quality=95), RGB, 2),
    "an icon": refused(by_pillow("ICO"), 415, "an icon"),
    "PPM": refused(by_pillow("PPM"), 415, "a Netpbm image"),
    "JPEG XL": refused(b"\xff\x0a" + bytes(20), 415, "JPEG XL"),
    "zeros": refused(bytes(100), 415, "not an image in a supported format"),
}


@pytest.fixture(scope="module")
def any_format(models: Path) -> Generator[TestClient]:
    formats = "png,jpeg,webp,gif,tiff,bmp,avif"
    settings = Settings.model_validate(
        {"models_dir": models, "model_watch": "off", "default_denoise": "photos", "image_formats": formats}
    )
    with TestClient(Dispatcher(create_app(settings)), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_answered_or_refused_with_the_cause(any_format: TestClient, name: str) -> None:
    case = CASES[name]
    answer = any_format.post("/denoise?strength=0", content=case.data)
    assert answer.status_code == case.status, answer.text
    if case.pixels is None:
        assert case.words in answer.json()["detail"]
        return
    pixels = np.asarray(Image.open(BytesIO(answer.content)).convert("RGBA"))[:, :, :3]
    assert pixels.shape == case.pixels.shape
    assert np.abs(pixels.astype(int) - case.pixels).mean() <= case.tolerance
    assert answer.headers.get("x-metadata-dropped", "") == case.dropped


@pytest.mark.parametrize("format_name", ["webp", "jpeg", "png"])
def test_no_file_is_an_error_of_the_server_in_another_format(any_format: TestClient, format_name: str) -> None:
    for name, case in CASES.items():
        answer = any_format.post(f"/denoise?format={format_name}", content=case.data)
        assert answer.status_code == case.status, name

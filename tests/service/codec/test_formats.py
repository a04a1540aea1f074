"""Formats that phones and browsers send, and those that cannot be decoded: named, with what to do."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from service import codec, setting_types
from service.codec import LazyPicture, Picture
from service.codec.png_chunks import chunk
from service.config import Settings
from service.errors import ImageTooLarge, Problem, UnsupportedImage
from tests.support.compatibility import accepts, refuses

ALL = tuple(setting_types.KNOWN_FORMATS)
RAMP = np.dstack([np.tile(np.arange(0, 240, 5), (32, 1)).astype(np.uint8)] * 3) // np.array([1, 2, 3], np.uint8)


def written(kind: str, **options: Any) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    out = BytesIO()
    Image.fromarray(RAMP).save(out, kind, **options)
    return out.getvalue()


def decode(blob: bytes, max_pixels: int = 1 << 20) -> Picture:
    return codec.decode(blob, formats=ALL, max_pixels=max_pixels)


@accepts(10, "HEIC (extra `heif`) and AVIF", oracle="Pillow and pillow-heif", cases="{kind}")
@pytest.mark.parametrize(("kind", "media_type"), [("AVIF", "image/avif"), ("HEIF", "image/heif")])
def test_photos_of_phones_and_browsers_are_decoded(kind: str, media_type: str) -> None:
    detected = decode(written(kind, quality=95))
    assert detected.media_type == media_type
    assert np.abs(detected.pixels.astype(int) - RAMP).mean() < 4


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_their_pixels_are_counted_before_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = written(kind)
    monkeypatch.setattr(LazyPicture, "decode", None)
    with pytest.raises(ImageTooLarge, match="48x32 pixels"):
        LazyPicture(blob, formats=ALL, max_pixels=48 * 32 - 1)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_any_cut_or_broken_byte_is_an_image_or_a_problem(kind: str) -> None:
    blob = written(kind)
    draw = np.random.default_rng(0)
    for at in range(0, len(blob), max(1, len(blob) // 60)):
        broken = bytearray(blob)
        broken[at] = int(draw.integers(256))
        for changed in (blob[:at], bytes(broken)):
            statuses: list[int] = []
            try:
                decode(changed)
            except Problem as problem:
                statuses.append(problem.status)
            assert set(statuses) <= {413, 415, 422}


@refuses(10, "a format outside `HOURGLASS_IMAGE_FORMATS`", because="415 names the setting")
def test_a_format_that_is_not_allowed_is_named_with_the_setting() -> None:
    for kind, name in (("AVIF", "AVIF"), ("HEIF", "HEIC/HEIF"), ("TIFF", "TIFF"), ("BMP", "BMP")):
        with pytest.raises(UnsupportedImage, match=f"the image is {name}.*HOURGLASS_IMAGE_FORMATS"):
            codec.decode(written(kind), formats=("png", "jpeg"), max_pixels=1 << 20)


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    return (16 + 4 * len(compatible)).to_bytes(4) + b"ftyp" + brand + b"\0\0\0\0" + b"".join(compatible) + b"\0" * 40


OTHERS = {
    "JPEG XL": [b"\xff\x0a\xfa\x7f", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 20],
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0"],
    "PSD": [b"8BPS\0\1"],
    "XCF": [b"gimp xcf file"],
    "camera raw": [b"FUJIFILMCCD-RAW 0201", b"II*\0\x10\0\0\0CR\2\0", ftyp(b"crx "), b"IIU\0\x18\0\0\0", b"IIRO\x08"],
    "PDF": [b"%PDF-1.7"],
    "PostScript": [b"%!PS-Adobe"],
    "archive": [b"PK\x03\x04\x14", b"\x1f\x8b\x08", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"],
    "video": [ftyp(b"isom", b"mp42"), ftyp(b"qt  "), b"\x1aE\xdf\xa3", b"RIFF\x20\0\0\0AVI LIST"],
    "SVG": [b"<svg xmlns='x'>", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --><svg>", b"<!DOCTYPE svg PUBLIC>"],
    "HTML": [b"<!doctype html><p>", b"<HTML><head>"],
    "ICO": [b"\0\0\1\0\1\0"],
    "OpenEXR": [b"\x76\x2f\x31\x01\2"],
    "QOI": [b"qoif\0\0"],
    "DICOM": [b"\0" * 128 + b"DICM"],
    "FITS": [b"SIMPLE  =                    T"],
    "Netpbm": [b"P6\n2 2\n255\n"],
    "base64": [b"iVBORw0KGgoAAAANSUhEUg", b"/9j/4AAQSkZJRg", b"UklGRh4AAABXRUJQ"],
    "data URI": [b"data:image/png;base64,iVBOR"],
    "npy": [b"\x93NUMPY\1\0"],
    "application/json": [b'{"images": []}'],
    "Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:0"],
}


@refuses(10, "formats that cannot be decoded", because="415 names the format and what to do", cases="{name}")
@pytest.mark.parametrize("name", OTHERS)
def test_a_format_that_cannot_be_decoded_is_named(name: str) -> None:
    for blob in OTHERS[name]:
        with pytest.raises(UnsupportedImage) as raised:
            decode(blob)
        assert name in raised.value.detail
        assert "accepted are " in raised.value.detail


@refuses(10, "HEIC without the extra `heif`", because="415 says what to install")
@pytest.mark.parametrize("brands", [(b"heic",), (b"mif1", b"heic"), (b"msf1", b"hevc")])
def test_heif_brands_without_the_extra_are_named(brands: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UnsupportedImage, match="extra heif"):
        decode(ftyp(*brands))


def test_the_setting_heif_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_types, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"install the extra heif: pip install '\.\[heif\]' in the checkout"):
        Settings(image_formats="png,heif")
    assert Settings(image_formats="png,avif").allowed_formats == {"png", "avif"}


@refuses(10, "PNGs of iOS apps (CgBI)", because="415 names the variant")
def test_a_png_of_an_ios_app_is_named() -> None:
    png = written("PNG")
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start])
    body = png[start + 6 : start + 4 + length - 4]  # without header and checksum of zlib
    image_data = chunk(b"IDAT", body)
    with pytest.raises(UnsupportedImage, match="CgBI"):
        decode(png[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + png[8 : start - 4] + image_data + png[-12:])


def planar_tiff(samples: NDArray[Any]) -> bytes:
    """Write a TIFF of C,H,W samples in separate planes without compression."""
    channels, height, width = samples.shape
    bits = 8 * samples.itemsize
    start = 8 + 2 + 12 * 10 + 4
    offsets, data = start + 6, start + 6 + 24
    plane = samples[0].nbytes
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, start),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, offsets),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 3, offsets + 12),
        (284, 3, 1, 2),
    ]
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].to_bytes(4, "little") for entry in entries)
    values = struct.pack("<3H", *[bits] * 3) + struct.pack("<6I", data, data + plane, data + 2 * plane, *[plane] * 3)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + b"\0" * 4 + values + samples.tobytes()


@accepts(26, "a TIFF with separate planes of 8 bits", oracle="the samples")
def test_a_tiff_of_planes_is_decoded() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (3, 20, 24)).astype(np.uint8)
    assert (decode(planar_tiff(samples)).pixels == samples.transpose(1, 2, 0)).all()


@refuses(26, "an uncompressed TIFF with separate planes of 16 bits", because="Pillow misreads it; 415 says what to do")
def test_a_tiff_of_wide_planes_is_not_misread() -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (3, 20, 24)).astype(np.uint16)
    with pytest.raises(UnsupportedImage, match="interleaved"):
        decode(planar_tiff(samples))


@refuses(10, "raw files of cameras, which hold a small preview", because="415 names the format")
def test_preview_of_a_camera_raw_file_is_not_the_image() -> None:
    with pytest.raises(UnsupportedImage, match="camera raw"):
        decode(written("TIFF", tiffinfo={50706: b"\1\4\0\0"}))

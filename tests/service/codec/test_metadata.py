"""Metadata of an image in an answer: byte for byte where its format holds them, and none that contradict the pixels."""

import re
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from service import codec
from service.codec import LazyPicture, Picture
from service.engine.images import postprocess
from service.errors import Problem
from tests.support.compatibility import accepts
from tests.support.image_files import (
    ARTIST,
    IPTC,
    MAKER_NOTE,
    THUMBNAIL,
    TITLE,
    XMP,
    chunk,
    chunks,
    exif,
    gif_with_xmp,
    grey_profile,
    photoshop,
    riff_chunk,
    riff_chunks,
    saved,
    segment,
    segments,
    waves,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif", "avif")
PIXELS = waves(6, 9)
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"


def decoded(data: bytes) -> Picture:
    return LazyPicture(data, formats=FORMATS, max_pixels=1 << 20).decode()


def answer(data: bytes, media_type: str, *, keep: bool = True) -> tuple[bytes, list[str]]:
    """Return the answer to an image for a model that changes nothing, and the kinds of metadata that it lacks."""
    picture = decoded(data)
    result = postprocess(picture.pixels, picture, keep)
    return codec.encode(result, media_type), codec.dropped_metadata(result, media_type)


def file_with_exif(kind: str, block: bytes) -> bytes:
    plain = saved(PIXELS, kind)
    if kind == "JPEG":
        return with_segments(plain, segment(0xE1, b"Exif\0\0" + block))
    if kind == "PNG":
        return with_chunks(plain, chunk(b"eXIf", block))
    return with_riff_chunks(plain, 0x08, riff_chunk(b"EXIF", block))


def file_with_xmp(kind: str) -> bytes:
    plain = saved(PIXELS, kind)
    if kind == "JPEG":
        return with_segments(plain, segment(0xE1, XMP_PREFIX + XMP))
    if kind == "PNG":
        return with_chunks(plain, chunk(b"iTXt", XMP_KEYWORD + XMP))
    return with_riff_chunks(plain, 0x04, riff_chunk(b"XMP ", XMP))


def exif_of(data: bytes) -> bytes:
    if data[:2] == b"\xff\xd8":
        [body] = [body for marker, body in segments(data) if marker == 0xE1 and body.startswith(b"Exif\0\0")]
        return body[6:]
    return dict(chunks(data))[b"eXIf"] if data[:4] == b"\x89PNG" else dict(riff_chunks(data))[b"EXIF"]


def xmp_of(data: bytes) -> bytes:
    if data[:2] == b"\xff\xd8":
        [body] = [body for marker, body in segments(data) if marker == 0xE1 and body.startswith(XMP_PREFIX)]
        return body[len(XMP_PREFIX) :]
    if data[:4] == b"\x89PNG":
        return dict(chunks(data))[b"iTXt"][len(XMP_KEYWORD) :]
    return dict(riff_chunks(data))[b"XMP "]


KINDS = ("JPEG", "PNG", "WEBP")


@accepts(
    4,
    "EXIF, byte for byte but for orientation, dimensions and thumbnail",
    oracle="the bytes, and Pillow",
    cases="{source} to {target}",
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_exif_stays_but_for_what_contradicts(source: str, target: str, order: str) -> None:
    data, dropped = answer(file_with_exif(source, exif(6, order=order)), f"image/{target.lower()}")
    assert dropped == []
    expected = exif(1, size=(6, 9), order=order, thumbnail=b"")
    high, low = struct.pack(order + "II", 300, 1), struct.pack(order + "II", 150, 1)
    swapped = expected.replace(high + low, low + high)  # the resolutions of an image that was turned
    assert swapped != expected
    assert exif_of(data) == swapped
    assert all(value in exif_of(data) for value in (TITLE, ARTIST, MAKER_NOTE))
    assert Image.open(BytesIO(data)).size == (6, 9)


def test_exif_of_an_upright_image_stays_byte_for_byte() -> None:
    block = exif(1, thumbnail=b"")
    for kind in KINDS:
        assert exif_of(answer(file_with_exif(kind, block), f"image/{kind.lower()}")[0]) == block


def test_a_thumbnail_amid_the_block_is_overwritten() -> None:
    block = exif(1) + b"behind the thumbnail"
    kept = exif_of(answer(file_with_exif("JPEG", block), "image/jpeg")[0])
    assert THUMBNAIL not in kept
    assert kept.endswith(b"behind the thumbnail")
    assert len(kept) == len(block)


def test_each_of_two_orientations_is_reset() -> None:
    twice = b"MM\0*\0\0\0\x08\0\2" + b"\1\x12\0\3\0\0\0\1\0\x06\0\0" * 2 + bytes(4)
    data, _ = answer(file_with_exif("JPEG", twice), "image/jpeg")
    assert exif_of(data) == twice.replace(b"\0\x06\0\0", b"\0\x01\0\0")


def test_a_width_beyond_16_bits_becomes_a_long() -> None:
    picture = decoded(file_with_exif("JPEG", exif()))
    block = picture.metadata.upright((70_000, 80_000)).exif
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block)
    inner = tags.get_ifd(0x8769)
    assert (tags[0x0100], tags[0x0101], inner[0xA002], inner[0xA003]) == (70_000, 80_000, 70_000, 80_000)


def test_exif_larger_than_a_segment_is_dropped_from_jpeg() -> None:
    data = file_with_exif("PNG", exif(thumbnail=b"") + bytes(70_000))
    assert answer(data, "image/jpeg")[1] == ["exif"]
    assert answer(data, "image/png")[1] == []


@accepts(
    4,
    "XMP, but for orientation, dimensions and thumbnail",
    oracle="the bytes, and Pillow",
    cases="{source} to {target}",
)
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_xmp_stays_but_for_what_contradicts(source: str, target: str) -> None:
    data, dropped = answer(file_with_xmp(source), f"image/{target.lower()}")
    assert dropped == []
    without_thumbnails = re.sub(rb"<xmp:Thumbnails>.*</xmp:Thumbnails>", b"", XMP, flags=re.DOTALL)
    assert xmp_of(data) == without_thumbnails.replace(b"Orientation='6'", b"Orientation='1'")


def test_dimensions_in_xmp_are_those_of_the_image() -> None:
    both = with_segments(file_with_xmp("JPEG"), segment(0xE1, b"Exif\0\0" + exif(6)))
    packet = xmp_of(answer(both, "image/jpeg")[0])
    assert b"PixelXDimension='6'" in packet
    assert b"PixelYDimension='9'" in packet
    assert b"<tiff:ImageWidth>6<" in packet


def test_xmp_with_other_prefixes_and_elements_is_adapted() -> None:
    packet = b'<rdf:RDF xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation> 8</t:Orientation></rdf:RDF>'
    data = with_chunks(saved(PIXELS, "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)))
    assert xmp_of(answer(data, "image/webp")[0]) == packet.replace(b" 8", b" 1")


def test_extended_xmp_stays_in_jpeg_and_is_named_elsewhere() -> None:
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 4, 0) + b"data"
    data = with_segments(file_with_xmp("JPEG"), segment(0xE1, extension))
    kept, dropped = answer(data, "image/jpeg")
    assert (0xE1, extension) in segments(kept)
    assert dropped == []
    assert answer(data, "image/png")[1] == ["xmp"]


@accepts(4, "IPTC of a JPEG", oracle="the bytes")
def test_iptc_stays_in_jpeg_without_the_thumbnail() -> None:
    block = photoshop((0x0404, IPTC), (0x040C, b"thumbnail"), (0x03ED, bytes(16)))
    data = with_segments(saved(PIXELS, "JPEG"), segment(0xED, b"Photoshop 3.0\0" + block))
    kept, dropped = answer(data, "image/jpeg")
    assert dict(segments(kept))[0xED] == b"Photoshop 3.0\0" + photoshop((0x0404, IPTC), (0x03ED, bytes(16)))
    assert dropped == []
    assert answer(data, "image/webp")[1] == ["iptc"]


def test_iptc_stays_in_png_as_imagemagick_and_exiftool_write_it() -> None:
    block = photoshop((0x0404, IPTC), (0x03ED, bytes(100)))
    data = with_segments(saved(PIXELS, "JPEG"), segment(0xED, b"Photoshop 3.0\0" + block))
    kept, dropped = answer(data, "image/png")
    assert dropped == []
    text = Image.open(BytesIO(kept)).info["Raw profile type iptc"]
    empty, name, length, *lines = text.split("\n")
    assert (empty, name, int(length)) == ("", "iptc", len(block))
    assert bytes.fromhex("".join(lines)) == block
    assert all(len(line) <= 72 for line in lines)
    again, dropped = answer(kept, "image/jpeg")
    assert dict(segments(again))[0xED] == b"Photoshop 3.0\0" + block
    assert dropped == []


def test_iptc_of_several_segments_stays() -> None:
    block = photoshop((0x0404, bytes(range(256)) * 400))
    parts = [segment(0xED, b"Photoshop 3.0\0" + block[at : at + 50_000]) for at in range(0, len(block), 50_000)]
    kept, _ = answer(with_segments(saved(PIXELS, "JPEG"), *parts), "image/jpeg")
    assert b"".join(body[14:] for marker, body in segments(kept) if marker == 0xED) == block


TEXTS = (
    (b"tEXt", b"Author\0M\xfcller"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"M\xfcller")),
    (b"iTXt", "Titel\0\0\0de\0Titel\0Müller".encode()),
    (b"iTXt", b"Titel\0\1\0de\0Titel\0" + zlib.compress("Müller".encode())),
    (b"tIME", struct.pack(">H5B", 2026, 11, 29, 8, 30, 0)),
)


@accepts(4, "text chunks of a PNG; in other formats they are left out and named", oracle="the bytes")
def test_text_of_a_png_stays_in_png_and_is_named_elsewhere() -> None:
    data = with_chunks(saved(PIXELS, "PNG"), *(chunk(*text) for text in TEXTS))
    kept, dropped = answer(data, "image/png")
    assert [part for part in chunks(kept) if part[0] in (b"tEXt", b"zTXt", b"iTXt", b"tIME")] == list(TEXTS)
    assert dropped == []
    assert answer(data, "image/jpeg")[1] == answer(data, "image/webp")[1] == ["text"]


@accepts(4, "comments of a JPEG; in other formats they are left out and named", oracle="the bytes")
def test_comments_of_a_jpeg_stay_in_jpeg_and_are_named_elsewhere() -> None:
    data = with_segments(saved(PIXELS, "JPEG"), segment(0xFE, b"M\xfcller"), segment(0xFE, b""))
    kept, dropped = answer(data, "image/jpeg")
    assert [body for marker, body in segments(kept) if marker == 0xFE] == [b"M\xfcller", b""]
    assert dropped == []
    assert answer(data, "image/webp")[1] == ["comment"]


COMMENTS = {
    "ASCII": (b"hello", "hello"),
    "Latin-1": (b"M\xfcller", "Müller"),
    "UTF-8": ("Müller あ".encode(), "Müller あ"),
    "UTF-16": ("\ufeffMüller あ".encode("utf-16-be"), "Müller あ"),
    "zeros at the end": (b"hello\0\0", "hello"),
    "empty": (b"", ""),
}


@pytest.mark.parametrize("name", COMMENTS)
def test_a_comment_of_a_jpeg_is_a_text_of_a_png(name: str) -> None:
    comment, text = COMMENTS[name]
    kept, dropped = answer(with_segments(saved(PIXELS, "JPEG"), segment(0xFE, comment)), "image/png")
    assert Image.open(BytesIO(kept)).info["Comment"] == text
    assert dropped == []


def test_a_comment_that_no_text_can_hold_is_named() -> None:
    data = with_segments(saved(PIXELS, "JPEG"), segment(0xFE, b"a\0b"), segment(0xFE, b"text"))
    kept, dropped = answer(data, "image/png")
    assert [body for kind, body in chunks(kept) if kind == b"tEXt"] == [b"Comment\0text"]
    assert dropped == ["comment"]


@pytest.mark.parametrize("size", [1, 90, 300])
def test_xmp_of_a_gif_is_read(size: int) -> None:
    packet = XMP + b" " * size
    data = gif_with_xmp(saved(waves(40, 60, 1), "GIF", comment=b"x"), packet)
    assert decoded(data).metadata.xmp == packet
    for cut in range(0, len(data), 7):
        with suppress(Problem):
            decoded(data[:cut])
    assert decoded(saved(waves(40, 60, 1), "GIF", comment=b"\x21\xff\x0bXMP DataXMP" + XMP)).metadata.xmp == b""


def test_metadata_of_heic_are_kept() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener(thumbnails=False)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    out = BytesIO()
    Image.fromarray(waves(64, 96)).save(
        out, "HEIF", exif=b"Exif\0\0" + exif(1, thumbnail=b""), xmp=XMP, icc_profile=srgb
    )
    picture = LazyPicture(out.getvalue(), formats=("heif",), max_pixels=1 << 20).decode()
    result = postprocess(picture.pixels, picture, keep_metadata=True)
    kept = codec.encode(result, "image/jpeg")
    assert codec.dropped_metadata(result, "image/jpeg") == []
    assert ARTIST in exif_of(kept)
    assert MAKER_NOTE in exif_of(kept)
    assert b"M\xc3\xbcller" in xmp_of(kept)
    assert Image.open(BytesIO(kept)).info["icc_profile"] == srgb


def dpi(data: bytes) -> Any:
    return Image.open(BytesIO(data)).info.get("dpi")


@accepts(4, "resolution", oracle="Pillow", cases="{source} to {target}")
@pytest.mark.parametrize("target", ["JPEG", "PNG"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "BMP"])
def test_resolution_stays(source: str, target: str) -> None:
    kept, dropped = answer(saved(PIXELS, source, dpi=(300, 300)), f"image/{target.lower()}")
    assert dpi(kept) == pytest.approx((300, 300), abs=0.01)
    assert dropped == []


@accepts(4, "resolution in a WebP, by its EXIF", oracle="Pillow", cases="{source}")
@pytest.mark.parametrize("source", ["JPEG", "PNG"])
def test_resolution_stays_in_the_exif_of_a_webp(source: str) -> None:
    kept, dropped = answer(saved(PIXELS, source, dpi=(300, 300)), "image/webp")
    tags = Image.open(BytesIO(kept)).getexif()
    assert (tags[0x011A], tags[0x011B], tags[0x0128]) == (300, 300, 2)
    assert dropped == []


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_the_unit_of_a_jpeg_s_resolution_stays(unit: int) -> None:
    density = struct.pack(">BHH", unit, 118, 59)
    jpeg = saved(PIXELS, "JPEG")
    kept, _ = answer(jpeg[:13] + density + jpeg[18:], "image/jpeg")
    assert kept[13:18] == density


@pytest.mark.parametrize("unit", [0, 1])
def test_the_resolution_of_a_png_stays_exactly(unit: int) -> None:
    density = struct.pack(">IIB", 11_811, 3_333, unit)
    kept, _ = answer(with_chunks(saved(PIXELS, "PNG"), chunk(b"pHYs", density)), "image/png")
    assert dict(chunks(kept))[b"pHYs"] == density


def test_resolution_of_a_turned_image_is_turned() -> None:
    data = file_with_exif("JPEG", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    kept, _ = answer(data[:13] + struct.pack(">BHH", 1, 300, 150) + data[18:], "image/jpeg")
    assert kept[13:18] == struct.pack(">BHH", 1, 150, 300)


def test_resolution_that_a_jpeg_cannot_hold_is_named() -> None:
    png = with_chunks(saved(PIXELS, "PNG"), chunk(b"pHYs", struct.pack(">IIB", 1 << 30, 1 << 30, 1)))
    assert answer(png, "image/jpeg")[1] == ["resolution"]


def full() -> dict[str, bytes]:
    """Return a file of each format with metadata of every kind."""
    jpeg = with_segments(
        saved(PIXELS, "JPEG", dpi=(300, 300)),
        segment(0xE1, b"Exif\0\0" + exif(1)),
        segment(0xE1, XMP_PREFIX + XMP),
        segment(0xED, b"Photoshop 3.0\0" + photoshop((0x0404, IPTC))),
        segment(0xEB, b"unknown"),
        segment(0xFE, b"comment"),
    )
    png = with_chunks(
        saved(PIXELS, "PNG", dpi=(300, 300)),
        chunk(b"eXIf", exif(1)),
        chunk(b"iTXt", XMP_KEYWORD + XMP),
        chunk(b"teSt", b"unknown"),
        *(chunk(*text) for text in TEXTS),
    )
    webp = with_riff_chunks(saved(PIXELS, "WEBP"), 0x0C, riff_chunk(b"EXIF", exif(1)), riff_chunk(b"XMP ", XMP))
    return {"JPEG": jpeg, "PNG": png, "WEBP": webp}


@accepts(
    4, "`metadata=strip`: all but the profile is removed", oracle="the bytes, and Pillow", cases="{source} to {target}"
)
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_strip_removes_all_and_names_nothing(source: str, target: str) -> None:
    kept, dropped = answer(full()[source], f"image/{target.lower()}", keep=False)
    assert dropped == []
    if target == "JPEG":
        assert [marker for marker, _ in segments(kept) if 0xE1 <= marker <= 0xEF or marker == 0xFE] == []
        assert kept[13:18] == struct.pack(">BHH", 0, 1, 1)
    elif target == "PNG":
        assert {kind for kind, _ in chunks(kept)} == {b"IHDR", b"IDAT", b"IEND"}
    else:
        assert {kind for kind, _ in riff_chunks(kept)} == {b"VP8 "}


@accepts(4, "metadata of scans and browsers", oracle="the bytes, and Pillow", cases="{kind}")
@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_metadata_of_other_formats_stay(kind: str) -> None:
    file = BytesIO()
    if kind == "TIFF":
        Image.fromarray(PIXELS).save(file, "TIFF", dpi=(300, 300), tiffinfo={700: XMP, 33723: IPTC})
    else:
        Image.fromarray(PIXELS).save(file, "AVIF", xmp=XMP, exif=b"Exif\0\0" + exif(1))
    kept, dropped = answer(file.getvalue(), "image/jpeg")
    assert b"Label>M\xc3\xbcller" in xmp_of(kept)
    assert dropped == []
    if kind == "TIFF":
        assert dict(segments(kept))[0xED] == b"Photoshop 3.0\0" + photoshop((0x0404, IPTC))
    else:
        assert MAKER_NOTE in exif_of(kept)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_a_tiff_stays_but_for_what_contradicts(order: str) -> None:
    block = exif(1, order=order)
    data = tiff_with(block, order)
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + exif_of(answer(data, "image/jpeg")[0]))
    inner = kept.get_ifd(0x8769)
    assert (inner[0x927C], inner[0xA002], inner[0xA003]) == (MAKER_NOTE, 1, 1)
    assert kept.get_ifd(0x8825)[1] == "N"
    assert 0x0100 not in kept
    assert all(value in exif_of(answer(data, "image/webp")[0]) for value in (TITLE, ARTIST))


def tiff_with(block: bytes, order: str) -> bytes:
    """Return a grey TIFF file of one pixel with the directories of an EXIF block."""
    at = 8 + 2
    [count] = struct.unpack_from(order + "H", block, 8)
    rows = [block[at + 12 * number : at + 12 * number + 12] for number in range(count)]
    moved = len(block)
    rows = [row for row in rows if struct.unpack_from(order + "H", row)[0] not in (0x0100, 0x0101)]
    pixel_at = moved + 2 + 12 * (len(rows) + 7) + 4
    for tag, value in ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, pixel_at), (279, 1)):
        rows.append(struct.pack(order + "HHII", tag, 4, 1, value))
    rows.sort(key=lambda row: struct.unpack_from(order + "H", row)[0])
    directory = struct.pack(order + "H", len(rows)) + b"".join(rows) + bytes(4)
    return block[:4] + struct.pack(order + "I", moved) + block[8:] + directory + b"x"


def test_a_trailer_is_named_when_metadata_are_kept() -> None:
    for kind in KINDS:
        data = saved(PIXELS, kind) + b"video"
        assert answer(data, "image/png")[1] == ["trailer"]
        assert answer(data, "image/png", keep=False)[1] == []


@pytest.mark.parametrize(
    ("media_type", "dropped"),
    [
        ("image/tiff", ["comment", "exif", "icc", "other"]),
        ("image/avif", ["comment", "icc", "iptc", "other", "resolution"]),
        ("image/bmp", ["comment", "exif", "icc", "iptc", "other", "xmp"]),
        ("image/gif", ["comment", "exif", "icc", "iptc", "other", "resolution", "xmp"]),
    ],
)
def test_formats_of_scanners_hold_what_they_can(media_type: str, dropped: list[str]) -> None:
    picture = decoded(full()["JPEG"])
    picture.icc = grey_profile()
    assert codec.dropped_metadata(picture, media_type) == dropped
    again = decoded(codec.encode_any([picture], media_type)).metadata
    assert bool(again.xmp) is ("xmp" not in dropped)
    assert bool(again.photoshop) is ("iptc" not in dropped)
    assert bool(again.exif) is ("exif" not in dropped)

"""What surrounds an image in its file: it neither counts as a part of the image nor prevents its decoding."""

import struct
import zlib
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from service import codec
from service.codec import LazyPicture, Picture
from service.errors import InvalidImage
from tests.support.compatibility import accepts, refuses
from tests.support.image_files import (
    XMP,
    before_end,
    chunk,
    exif,
    grey_profile,
    photoshop,
    riff_chunk,
    saved,
    segment,
    waves,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
PIXELS = waves(20, 30)
JPEG = saved(PIXELS, "JPEG", quality=95)
PNG = saved(PIXELS, "PNG")
WEBP = saved(PIXELS, "WEBP", lossless=True)
GIF = saved(PIXELS, "GIF")
SCANS = b"\xff\xda\0\2" * 120
BIG = np.random.default_rng(0).bytes(1_200_000)
HUGE_TEXT = b"a" * 1_200_000


def opened(data: bytes, **options: Any) -> LazyPicture:
    return LazyPicture(data, formats=FORMATS, max_pixels=1 << 20, **options)


def decoded(data: bytes) -> Picture:
    return opened(data).decode()


def archive() -> bytes:
    out = BytesIO()
    with ZipFile(out, "w") as file:
        file.writestr("iCCP" * 20, SCANS)
    return out.getvalue()


def several_pictures() -> bytes:
    """Return an MPO file: an index in an APP2 segment, and a second JPEG file behind the first."""
    out = BytesIO()
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1].copy())
    first.save(out, "MPO", save_all=True, append_images=[second], quality=95)
    return out.getvalue()


def thumbnail_segment() -> bytes:
    return segment(0xE1, b"Exif\0\0" + exif(thumbnail=b"\xff\xd8" + SCANS + b"\xff\xd9"))


SURROUNDED = {
    "JPEG and a video": (JPEG, JPEG + struct.pack(">I", 24) + b"ftypmp42" + SCANS * 5),
    "JPEG and zeros": (JPEG, JPEG + bytes(5000)),
    "JPEG and an archive": (JPEG, JPEG + archive()),
    "JPEG and further JPEG files": (JPEG, JPEG + JPEG * 120),
    "JPEG of several pictures": (JPEG, several_pictures()),
    "JPEG with scans in a thumbnail": (JPEG, with_segments(JPEG, thumbnail_segment())),
    "JPEG with scans in a comment": (JPEG, with_segments(JPEG, segment(0xFE, SCANS))),
    "JPEG with scans in an unknown segment": (JPEG, with_segments(JPEG, segment(0xEC, SCANS))),
    "JPEG with a gain map": (JPEG, with_segments(JPEG, segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + SCANS)) + JPEG),
    "JPEG with a preview behind it": (JPEG, with_segments(JPEG, segment(0xE2, b"MPF\0broken" + SCANS)) + JPEG),
    "JPEG with a flash picture": (JPEG, with_segments(JPEG, segment(0xE2, b"FPXR\0\1" + SCANS))),
    "JPEG with very many fill bytes": (JPEG, JPEG[:20] + b"\xff" * (32 << 20) + JPEG[20:]),
    "JPEG with fill bytes": (JPEG, JPEG[:20] + b"\xff" * 9 + JPEG[20:]),
    "JPEG with many segments": (JPEG, with_segments(JPEG, *[segment(0xE5, b"x")] * 3000)),
    "PNG and zeros": (PNG, PNG + bytes(5000)),
    "PNG and an archive": (PNG, PNG + archive()),
    "PNG and chunks behind the end": (PNG, PNG + chunk(b"iCCP", b"x") * 20),
    "PNG with iCCP 17 times in text": (PNG, with_chunks(PNG, chunk(b"tEXt", b"Comment\0" + b"iCCP" * 17))),
    "WebP and zeros": (WEBP, WEBP + bytes(5000)),
    "WebP and an archive": (WEBP, WEBP + archive()),
    "GIF and an archive": (GIF, GIF + archive()),
}


@accepts(
    1,
    "data before, within and behind an image",
    oracle="the pixels that Pillow reads from the bare image",
    cases="{name}",
)
@pytest.mark.parametrize("name", SURROUNDED)
def test_surroundings_do_not_change_the_image(name: str) -> None:
    plain, surrounded = SURROUNDED[name]
    assert (decoded(surrounded).pixels == decoded(plain).pixels).all()


@accepts(
    1, "a motion photo: a JPEG and 8 MiB of video behind it", oracle="the pixels that Pillow reads from the bare image"
)
def test_an_eight_mebibyte_video_behind_a_jpeg_is_ignored() -> None:
    video = np.random.default_rng(1).bytes(8 << 20)
    assert video.count(b"\xff\xda") > 100
    assert (decoded(JPEG + video).pixels == decoded(JPEG).pixels).all()


@refuses(
    1,
    "a JPEG with more scans of its own than `HOURGLASS_MAX_JPEG_SCANS`",
    because="each scan costs a pass over the picture",
)
def test_the_scans_of_the_image_itself_are_limited() -> None:
    progressive = saved(PIXELS, "JPEG", progressive=True)
    scans = progressive.count(b"\xff\xda")
    assert opened(progressive, max_scans=scans).width == 30
    with pytest.raises(InvalidImage, match="scans"):
        opened(progressive, max_scans=scans - 1)
    with pytest.raises(InvalidImage, match="scans"):
        opened(progressive[:-2] + SCANS + progressive[-2:])


BOMBS = {
    "JPEG segments": (JPEG[:20] + b"\xff\xe5\0\2" * 60_000 + JPEG[20:], "segments"),
    "PNG chunks": (with_chunks(PNG, chunk(b"teSt", b"") * 110_000), "chunks"),
    "PNG profiles": (with_chunks(PNG, chunk(b"iCCP", b"x\0\0") * 17), "ICC profiles"),
    "WebP chunks": (with_riff_chunks(WEBP, 0, riff_chunk(b"teSt", b"") * 60_000), "chunks"),
}


@refuses(2, "a file of too many parts", because="a bound against decompression bombs", cases="{name}")
@pytest.mark.parametrize("name", BOMBS)
def test_the_number_of_parts_of_a_file_is_limited(name: str) -> None:
    data, message = BOMBS[name]
    with pytest.raises(InvalidImage, match=message):
        opened(data)


def compressed(kind: bytes, text: bytes) -> bytes:
    return chunk(kind, b"Comment\0\0" + zlib.compress(text))


def corrupted(data: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return data[:-1] + bytes((data[-1] ^ 1,))


def profile_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


LOOP = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\0"
BROKEN_EXIF = {
    "nonsense": b"nonsense and more of it",
    "cut": exif()[:60],
    "cut in its values": exif()[:200],
    "of the wrong byte order": b"II*\0" + exif()[4:],
    "in a loop": LOOP,
    "without entries": b"MM\0*\0\0\0\x08\0\0\0\0\0\0",
    "pointing outside": b"MM\0*\xff\xff\xff\xf0\0\0\0\0\0\0",
    "too large": exif() + BIG,
}
DROPPED: dict[str, tuple[bytes, set[str]]] = {
    "PNG with a profile of 1.1 MiB": (with_chunks(PNG, profile_chunk(bytes(1_150_000))), {"icc"}),
    "PNG with a profile that is none": (with_chunks(PNG, profile_chunk(b"x" * 300)), {"icc"}),
    "PNG with a cut profile": (with_chunks(PNG, profile_chunk(grey_profile()[:150])), {"icc"}),
    "PNG with a profile that is not deflated": (with_chunks(PNG, chunk(b"iCCP", b"x\0\0plain")), {"icc"}),
    "PNG with a profile compressed otherwise": (with_chunks(PNG, chunk(b"iCCP", b"x\0\1abc")), {"icc"}),
    "PNG with an empty profile": (with_chunks(PNG, chunk(b"iCCP", b"")), {"icc"}),
    "PNG with 1.2 MB of compressed text": (with_chunks(PNG, compressed(b"zTXt", HUGE_TEXT)), {"text"}),
    "PNG with a text bomb": (with_chunks(PNG, compressed(b"zTXt", bytes(50 << 20))), {"text"}),
    "PNG with many text bombs": (with_chunks(PNG, compressed(b"zTXt", bytes(1 << 20)) * 40), {"text"}),
    "PNG with 1.2 MB of text": (with_chunks(PNG, chunk(b"tEXt", b"Comment\0" + HUGE_TEXT)), {"text"}),
    "PNG with 1.2 MB of text behind it": (before_end(PNG, compressed(b"zTXt", HUGE_TEXT)), {"text"}),
    "PNG with text of a wrong checksum": (with_chunks(PNG, corrupted(chunk(b"tEXt", b"a\0b"))), {"text"}),
    "PNG with a broken iTXt": (with_chunks(PNG, chunk(b"iTXt", b"a\0")), {"text"}),
    "PNG with iTXt that is not UTF-8": (with_chunks(PNG, chunk(b"iTXt", b"a\0\0\0\0\0\xff")), {"text"}),
    "PNG with a broken zTXt": (with_chunks(PNG, chunk(b"zTXt", b"a\0\0xx")), {"text"}),
    "PNG with a broken raw profile": (
        with_chunks(PNG, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n2\nzz")),
        {"text"},
    ),
    "PNG with pHYs of 3 bytes": (with_chunks(PNG, chunk(b"pHYs", b"abc")), {"resolution"}),
    "PNG with gAMA of 3 bytes": (with_chunks(PNG, chunk(b"gAMA", b"abc")), {"gamma"}),
    "PNG with gAMA of zero": (with_chunks(PNG, chunk(b"gAMA", bytes(4))), {"gamma"}),
    "PNG with cHRM of 3 bytes": (with_chunks(PNG, chunk(b"cHRM", b"abc")), {"gamma"}),
    "PNG with an empty sRGB": (with_chunks(PNG, chunk(b"sRGB", b"")), {"gamma"}),
    "PNG with tIME of 3 bytes": (with_chunks(PNG, chunk(b"tIME", b"abc")), {"other"}),
    "PNG with an unknown chunk": (with_chunks(PNG, chunk(b"teSt", b"abc")), {"other"}),
    "PNG with tRNS of 1 byte": (with_chunks(PNG, chunk(b"tRNS", b"a")), {"transparency"}),
    "PNG with tRNS of a wrong checksum": (with_chunks(PNG, corrupted(chunk(b"tRNS", bytes(6)))), {"transparency"}),
    "PNG with broken animation": (
        with_chunks(PNG, chunk(b"acTL", b"a"), chunk(b"fcTL", b"b"), chunk(b"fdAT", b"")),
        set(),
    ),
    "PNG with broken XMP": (with_chunks(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0nothing")), {"xmp"}),
    "JPEG with a broken profile": (saved(PIXELS, "JPEG", quality=95, icc_profile=b"x" * 300), {"icc"}),
    "JPEG with half a profile": (with_segments(JPEG, segment(0xE2, b"ICC_PROFILE\0\1\2" + grey_profile())), {"icc"}),
    "JPEG with XMP in UTF-16": (
        with_segments(JPEG, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + "<rdf:RDF/>".encode("utf-16"))),
        {"xmp"},
    ),
    "JPEG with broken resources": (with_segments(JPEG, segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4x")), {"iptc"}),
    "JPEG with cut resources": (
        with_segments(JPEG, segment(0xED, b"Photoshop 3.0\0" + photoshop((0x404, bytes(99)))[:50])),
        {"iptc"},
    ),
    "WebP with a broken profile": (with_riff_chunks(WEBP, 0x20, riff_chunk(b"ICCP", b"x" * 300)), {"icc"}),
    "WebP with broken XMP": (with_riff_chunks(WEBP, 0x04, riff_chunk(b"XMP ", b"\xff\xff")), {"xmp"}),
    "WebP with an unknown chunk": (with_riff_chunks(WEBP, 0, riff_chunk(b"teSt", b"a")), {"other"}),
    "WebP with a chunk beyond its end": (with_riff_chunks(WEBP, 0x08, b"EXIF\xff\xff\0\0abcd"), {"exif"}),
    **{
        f"PNG with EXIF {name}": (with_chunks(PNG, chunk(b"eXIf", body)), {"exif"})
        for name, body in BROKEN_EXIF.items()
    },
    **{
        f"JPEG with EXIF {name}": (with_segments(JPEG, segment(0xE1, b"Exif\0\0" + body[:60_000])), {"exif"})
        for name, body in BROKEN_EXIF.items()
        if len(body) < 60_000
    },
    **{
        f"WebP with EXIF {name}": (with_riff_chunks(WEBP, 0x08, riff_chunk(b"EXIF", body)), {"exif"})
        for name, body in BROKEN_EXIF.items()
    },
}


@accepts(
    2,
    "an image with broken, oversized or unknown metadata; they are named in `X-Metadata-Dropped`",
    oracle="the pixels of the file without them",
    cases="{name}",
)
@pytest.mark.parametrize("name", DROPPED)
def test_broken_metadata_is_dropped_and_named(name: str) -> None:
    data, dropped = DROPPED[name]
    plain = {"PNG": PNG, "JPEG": JPEG, "WebP": WEBP}[name.split()[0]]
    picture = decoded(data)
    assert (picture.pixels == decoded(plain).pixels).all()
    assert picture.alpha is None
    for media_type in codec.ENCODABLE:
        assert set(codec.dropped_metadata(picture, media_type)) == dropped
        answer = decoded(codec.encode(picture, media_type))
        assert not codec.dropped_metadata(answer, media_type)


@accepts(2, "the orientation of EXIF that is broken elsewhere", oracle="the turned pixels of the upright file")
@pytest.mark.parametrize(("kind", "body"), [("EXIF", exif(6)[:150]), ("XMP ", b"x")])
def test_orientation_of_broken_exif_is_applied(kind: str, body: bytes) -> None:
    webp = with_riff_chunks(WEBP, 0x08 | 0x04, riff_chunk(kind.encode(), body))
    assert decoded(webp).pixels.shape == ((30, 20, 3) if kind == "EXIF" else (20, 30, 3))


@accepts(4, "an orientation in EXIF: it is applied and reset", oracle="Pillow's exif_transpose", cases="{orientation}")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    from PIL import ImageOps

    jpeg = with_segments(JPEG, segment(0xE1, b"Exif\0\0" + exif(orientation)))
    expected = ImageOps.exif_transpose(Image.open(BytesIO(jpeg)))
    assert (decoded(jpeg).pixels == np.asarray(expected)).all()


@accepts(4, "an orientation in a TIFF", oracle="Pillow's exif_transpose")
@pytest.mark.parametrize("sixteen_bit", [False, True])
def test_orientation_of_a_tiff_is_applied(sixteen_bit: bool) -> None:
    grey = PIXELS[:, :, 0]
    file = BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257 if sixteen_bit else grey).save(file, "TIFF", tiffinfo={0x0112: 6})
    assert (decoded(file.getvalue()).pixels[:, :, 0] == np.rot90(grey, -1)).all()


def xmp_files() -> dict[str, bytes]:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "TIFF", tiffinfo={700: XMP})
    return {
        "JPEG": with_segments(JPEG, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        "PNG": with_chunks(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        "WebP": with_riff_chunks(WEBP, 0x04, riff_chunk(b"XMP ", XMP)),
        "TIFF": file.getvalue(),
    }


@accepts(
    4,
    "an orientation that stands in XMP alone: the pixels are not turned, as in browsers",
    oracle="the pixels without the XMP",
    cases="{kind}",
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_orientation_in_xmp_alone_is_not_applied(kind: str) -> None:
    picture = decoded(xmp_files()[kind])
    assert picture.pixels.shape == (20, 30, 3)
    assert picture.metadata.xmp == XMP


def test_orientation_in_a_raw_profile_is_not_applied() -> None:
    digits = (b"Exif\0\0" + exif(6)).hex()
    text = f"Raw profile type exif\0\nexif\n{len(digits) // 2:8}\n{digits}\n".encode()
    picture = decoded(with_chunks(PNG, chunk(b"tEXt", text)))
    assert picture.pixels.shape == (20, 30, 3)
    assert picture.metadata.exif == exif(6)

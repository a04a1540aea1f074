"""Colours mean the same in an answer: profiles are kept where they fit, and applied where they cannot."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from service import codec
from service.codec import LazyPicture, Picture
from service.engine.images import postprocess
from tests.support.compatibility import accepts
from tests.support.image_files import (
    Array,
    chunk,
    chunks,
    cmyk_profile,
    grey_profile,
    profile,
    profile_segments,
    saved,
    segments,
    waves,
    with_chunks,
    with_segments,
)

FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RGB, GREY = waves(24, 32), waves(24, 32, 1)
INKS = np.dstack([waves(24, 32), waves(24, 32, 1) // 3])
TYPES = ("image/png", "image/jpeg", "image/webp")


def decoded(data: bytes) -> Picture:
    return LazyPicture(data, formats=FORMATS, max_pixels=1 << 20).decode()


def answer(data: bytes, media_type: str, channels: int | None = None) -> tuple[Image.Image, list[str]]:
    """Return the image that answers this one unchanged, and the kinds of metadata that it lacks."""
    picture = decoded(data)
    output = picture.pixels if channels is None else codec.fit_to_size(picture.pixels, None, None, channels)
    result = postprocess(output, picture, keep_metadata=True)
    return Image.open(BytesIO(codec.encode(result, media_type))), codec.dropped_metadata(result, media_type)


def inks(kind: str, profile: bytes | None) -> bytes:
    out = BytesIO()
    image = Image.frombytes("CMYK", (32, 24), INKS.tobytes())
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    image.save(out, kind, icc_profile=profile, **options)
    return out.getvalue()


def by_little_cms(image: Image.Image, profile: bytes) -> Array:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(profile)), srgb, outputMode="RGB")
    assert converted is not None
    return np.asarray(converted)


@accepts(3, "CMYK with a profile", oracle="littleCMS", cases="{kind}")
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str) -> None:
    data = inks(kind, cmyk_profile())
    expected = by_little_cms(Image.open(BytesIO(data)), cmyk_profile())
    assert np.abs(decoded(data).pixels.astype(int) - expected).max() <= 1
    without = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    assert np.abs(without.astype(int) - expected).mean() > 20


@accepts(3, "CMYK: no CMYK profile on the RGB response", oracle="the profile that Pillow finds", cases="{media_type}")
@pytest.mark.parametrize("media_type", TYPES)
def test_a_cmyk_profile_is_not_attached_to_rgb(media_type: str) -> None:
    image, dropped = answer(inks("JPEG", cmyk_profile()), media_type)
    assert "icc_profile" not in image.info
    assert dropped == ["icc"]


@accepts(3, "a large CMYK profile", oracle="littleCMS")
def test_a_large_cmyk_profile_is_applied() -> None:
    large = cmyk_profile() + bytes(2 << 20)
    data = with_segments(inks("TIFF", None), b"") and inks("JPEG", None)
    data = data[:2] + b"".join(profile_segments(large)) + data[2:]
    expected = by_little_cms(Image.open(BytesIO(inks("JPEG", None))), cmyk_profile())
    assert np.abs(decoded(data).pixels.astype(int) - expected).max() <= 1


@accepts(3, "CMYK whose profile is broken or of another kind", oracle="Pillow's plain conversion")
@pytest.mark.parametrize("broken", [b"x" * 500, cmyk_profile()[:200], profile(b"CMYK", {}, b"Lab "), SRGB])
def test_cmyk_without_a_usable_profile_is_converted_plainly(broken: bytes) -> None:
    plain = inks("JPEG", None)
    assert (decoded(inks("JPEG", broken)).pixels == decoded(plain).pixels).all()
    assert codec.dropped_metadata(decoded(inks("JPEG", broken)), "image/png") == ["icc"]
    assert (decoded(plain).pixels == np.asarray(Image.open(BytesIO(plain)).convert("RGB"))).all()


@accepts(3, "CMYK JPEGs with and without Adobe's marker", oracle="the values that were written")
def test_cmyk_values_are_inverted_only_by_adobe() -> None:
    adobe = inks("JPEG", None)
    [(at, _)] = [(adobe.index(b"\xff\xee"), body) for marker, body in segments(adobe) if marker == 0xEE]
    plain = adobe[:at] + adobe[at + 16 :]
    stored = 255 - np.asarray(Image.open(BytesIO(adobe))).astype(int)  # what the file holds
    image = Image.frombytes("CMYK", (32, 24), stored.astype(np.uint8).tobytes())
    assert (decoded(plain).pixels == np.asarray(image.convert("RGB"))).all()


@accepts(3, "Lab TIFF", oracle="littleCMS")
def test_lab_is_converted() -> None:
    out = BytesIO()
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(Image.fromarray(RGB), srgb, lab, outputMode="LAB")
    assert converted is not None
    converted.save(out, "TIFF")
    assert np.abs(decoded(out.getvalue()).pixels.astype(int) - RGB).mean() < 3


@accepts(3, "a gray profile on a gray image", oracle="the profile that Pillow finds", cases="{kind} to {media_type}")
@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_grey_profile_stays_with_grey(kind: str, media_type: str) -> None:
    image, dropped = answer(saved(GREY, kind, icc_profile=grey_profile()), media_type)
    assert image.mode == "L"
    assert image.info["icc_profile"] == grey_profile()
    assert dropped == []


def test_a_grey_profile_stays_with_grey_and_alpha() -> None:
    grey_alpha = np.dstack([GREY[:, :, 0], RGB[:, :, 1]])
    image, dropped = answer(saved(grey_alpha, "PNG", icc_profile=grey_profile()), "image/png")
    assert image.mode == "LA"
    assert image.info["icc_profile"] == grey_profile()
    assert dropped == []


def test_a_grey_profile_does_not_fit_webp() -> None:
    image, dropped = answer(saved(GREY, "PNG", icc_profile=grey_profile()), "image/webp")
    assert "icc_profile" not in image.info
    assert dropped == ["icc"]


@accepts(3, "an RGB profile on a colour image", oracle="the profile that Pillow finds", cases="{kind} to {media_type}")
@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_rgb_profile_stays_with_colour(kind: str, media_type: str) -> None:
    image, dropped = answer(saved(RGB, kind, icc_profile=SRGB), media_type)
    assert image.info["icc_profile"] == SRGB
    assert dropped == []


@accepts(
    3,
    "an RGB profile, if the response is gray: it is left out and named",
    oracle="the profile that Pillow finds",
    cases="{media_type}",
)
@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_an_rgb_profile_does_not_stay_with_grey(media_type: str) -> None:
    for data in (saved(GREY, "PNG", icc_profile=SRGB), saved(GREY, "JPEG", icc_profile=SRGB)):
        image, dropped = answer(data, media_type)
        assert "icc_profile" not in image.info
        assert dropped == ["icc"]


def test_a_profile_of_other_channels_does_not_stay() -> None:
    for data in (saved(RGB, "PNG", icc_profile=cmyk_profile()), saved(RGB, "JPEG", icc_profile=grey_profile())):
        image, dropped = answer(data, "image/png")
        assert "icc_profile" not in image.info
        assert dropped == ["icc"]


@accepts(3, "a JPEG profile in several segments, in any order", oracle="the bytes of the profile")
def test_a_profile_of_several_segments_in_any_order_stays() -> None:
    large = SRGB + bytes(100_000)
    parts = profile_segments(large)
    image, dropped = answer(with_segments(saved(RGB, "JPEG"), *reversed(parts)), "image/jpeg")
    assert image.info["icc_profile"] == large
    assert dropped == []


COLOURS = {
    b"gAMA": struct.pack(">I", 100_000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    b"cICP": bytes((12, 13, 0, 1)),
}


@accepts(3, "gAMA, cHRM, cICP and the like of a PNG", oracle="the bytes of the chunk", cases="{kind}")
@pytest.mark.parametrize("kind", COLOURS)
@pytest.mark.parametrize("keep", [False, True])
def test_what_a_png_says_of_its_colours_stays(kind: bytes, keep: bool) -> None:
    picture = decoded(with_chunks(saved(RGB, "PNG"), chunk(kind, COLOURS[kind])))
    result = postprocess(picture.pixels, picture, keep_metadata=keep)
    assert (kind, COLOURS[kind]) in chunks(codec.encode(result, "image/png"))
    assert codec.dropped_metadata(result, "image/png") == []
    assert codec.dropped_metadata(result, "image/jpeg") == ["gamma"]


def test_an_srgb_chunk_is_not_missed_in_a_jpeg() -> None:
    for kind, body in ((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))):
        picture = decoded(with_chunks(saved(RGB, "PNG"), chunk(kind, body)))
        assert codec.dropped_metadata(picture, "image/jpeg") == []


def test_a_profile_replaces_an_srgb_chunk() -> None:
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    picture = decoded(with_chunks(saved(RGB, "PNG"), chunk(b"sRGB", b"\0"), profile))
    kinds = [kind for kind, _ in chunks(codec.encode(picture, "image/png"))]
    assert kinds.count(b"iCCP") == 1
    assert b"sRGB" not in kinds

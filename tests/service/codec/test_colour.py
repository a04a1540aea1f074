"""Colours mean the same in an answer: profiles are kept where they fit, and applied where they cannot."""

import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from service import codec
from service.codec import LazyPicture, Picture
from service.engine.images import postprocess
from service.errors import Problem
from tests.support.compatibility import accepts
from tests.support.image_files import (
    Array,
    bmp,
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
    xyz,
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


def test_grey_is_converted_by_its_profile_for_webp() -> None:
    data = saved(GREY, "PNG", icc_profile=grey_profile(1.0))
    picture = decoded(data)
    picture.lossless = True
    image = Image.open(BytesIO(codec.encode(picture, "image/webp")))
    assert "icc_profile" not in image.info
    assert codec.dropped_metadata(picture, "image/webp") == ["icc"]
    assert np.abs(np.asarray(image).astype(int) - srgb_of(GREY / 255.0)).max() <= 2


def srgb_of(linear: Array) -> Array:
    """Return sRGB, 0 to 255, of linear light, by the formula of IEC 61966-2-1."""
    light = np.clip(linear, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


P3_TO_BT709 = np.array(((1.2249, -0.2247, 0), (-0.0420, 1.0419, 0), (-0.0197, -0.0786, 1.0979)))
CALIBRATIONS = {
    "gAMA": ((chunk(b"gAMA", struct.pack(">I", 100_000)),), np.eye(3), 1.0),
    "gAMA of an old Macintosh": ((chunk(b"gAMA", struct.pack(">I", 55_556)),), np.eye(3), 1.8),
    "gAMA and cHRM": (
        (
            chunk(b"gAMA", struct.pack(">I", 55_556)),
            chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
        ),
        P3_TO_BT709,
        1.8,
    ),
    "cICP": ((chunk(b"cICP", bytes((12, 4, 0, 1))),), P3_TO_BT709, 2.2),
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_pixels_are_converted_where_no_chunk_can_stand(name: str) -> None:
    extra, matrix, gamma = CALIBRATIONS[name]
    for pixels in (RGB, GREY):
        picture = decoded(with_chunks(saved(pixels, "PNG"), *extra))
        picture.lossless = True
        image = Image.open(BytesIO(codec.encode(picture, "image/webp")))
        light = np.repeat((pixels / 255.0) ** gamma, 3 // pixels.shape[2], axis=2) @ matrix.T
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - srgb_of(light)).max() <= 3
        assert codec.dropped_metadata(picture, "image/webp") == ["gamma"]
        assert decoded(codec.encode(picture, "image/jpeg")).pixels.shape == pixels.shape


@pytest.mark.parametrize("body", [bytes((9, 16, 0, 1)), bytes((1, 13, 1, 1)), bytes((2, 2, 0, 0))])
def test_hdr_and_unknown_colours_are_named_and_not_converted(body: bytes) -> None:
    picture = decoded(with_chunks(saved(RGB, "PNG"), chunk(b"cICP", body)))
    picture.lossless = True
    assert (np.asarray(Image.open(BytesIO(codec.encode(picture, "image/webp")))) == RGB).all()
    assert codec.dropped_metadata(picture, "image/webp") == ["gamma"]


def test_chromaticities_without_meaning_change_nothing() -> None:
    for numbers in ((0,) * 8, (2**31 - 1,) * 8, (31270, 32900) * 4, (31270, 32900, 90000, 90000, 1, 1, 1, 1)):
        picture = decoded(with_chunks(saved(RGB, "PNG"), chunk(b"cHRM", struct.pack(">8I", *numbers))))
        picture.lossless = True
        assert (np.asarray(Image.open(BytesIO(codec.encode(picture, "image/webp")))) == RGB).all()


def test_a_bmp_is_answered_with_its_profile() -> None:
    for media_type in TYPES:
        image, dropped = answer(bmp(RGB, profile=SRGB), media_type)
        assert image.info["icc_profile"] == SRGB
        assert dropped == []


def test_a_calibrated_bmp_gets_a_profile_of_the_same_colours() -> None:
    image, dropped = answer(bmp(RGB, gamma=1.8), "image/png")
    assert dropped == []
    expected = srgb_of((RGB / 255.0) ** 1.8 @ P3_TO_BT709.T)
    assert np.abs(by_little_cms(image, image.info["icc_profile"]).astype(int) - expected).max() <= 3


def test_a_bmp_without_calibration_has_no_profile() -> None:
    for data in (saved(RGB, "BMP"), bmp(RGB), bmp(RGB, gamma=1.8, space=0x73524742), bmp(RGB, profile=SRGB)[:134]):
        with suppress(Problem):
            assert decoded(data).icc is None


def test_grey_of_an_rgb_profile_is_converted() -> None:
    picture = decoded(saved(GREY, "PNG", icc_profile=by_gamma(1.0)))
    pixels = decoded(codec.encode(picture, "image/png")).pixels
    assert pixels.shape == GREY.shape
    assert np.abs(pixels.astype(int) - srgb_of(GREY / 255.0)).max() <= 2


def by_gamma(gamma: float) -> bytes:
    """Return an RGB profile with the primaries of sRGB."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    columns = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
    tags = {name + b"XYZ": xyz(*column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    return profile(b"RGB ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


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

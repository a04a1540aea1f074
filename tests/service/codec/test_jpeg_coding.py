"""A JPEG is answered as it was coded. The oracle is Pillow's reading of both files."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from service import codec
from service.codec import Picture
from service.codec.jpeg_coding import STANDARD_CHROMA, STANDARD_LUMA, read_coding, scale
from tests.support.compatibility import accepts

Array = NDArray[Any]
SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
NOT_STANDARD = [[3 + at // 8 for at in range(64)], [5 + at // 4 for at in range(64)]]


def colours(height: int = 64, width: int = 48) -> Array:
    """Red letters on white, as on a screenshot."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[8:-8:5, 5:-5] = (220, 10, 20)
    pixels[:, 20::9] = (20, 30, 200)
    return pixels


def jpeg(pixels: Array, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **options)
    return out.getvalue()


def decode(blob: bytes) -> Picture:
    return codec.decode(blob, formats=("jpeg", "png", "webp", "tiff"), max_pixels=1 << 22)


def answered(blob: bytes, **options: Any) -> Image.Image:
    return Image.open(BytesIO(codec.encode(decode(blob), "image/jpeg", **options)))


def tables(image: Image.Image) -> Any:
    return image.quantization  # pyright: ignore[reportAttributeAccessIssue]


@accepts(
    6,
    "the chroma sampling, quantization tables and progressive mode of a JPEG",
    oracle="Pillow",
    cases="{sampling}, progressive: {progressive}",
)
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"], ids=["fast path", "Pillow"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    "options", [{"quality": quality} for quality in (5, 50, 75, 90, 95, 100)] + [{"qtables": NOT_STANDARD}]
)
def test_sampling_tables_and_progression_stay(
    options: dict[str, Any], sampling: str, progressive: bool, exif: bytes
) -> None:
    blob = jpeg(colours(), subsampling=SAMPLINGS[sampling], progressive=progressive, exif=exif, **options)
    sent, actual = Image.open(BytesIO(blob)), answered(blob)
    assert get_sampling(actual) == SAMPLINGS[sampling]
    assert tables(actual) == tables(sent)
    assert bool(actual.info.get("progressive")) is progressive


@accepts(6, "red text in a 4:4:4 JPEG", oracle="the largest error against the input")
def test_red_text_of_full_sampling_is_not_blurred() -> None:
    blob = jpeg(colours(), quality=95, subsampling=0)
    error = np.abs(np.asarray(answered(blob)).astype(int) - np.asarray(Image.open(BytesIO(blob))))
    assert error.max() <= 8


@accepts(6, "the table of a gray JPEG", oracle="Pillow")
def test_grey_keeps_its_table() -> None:
    blob = jpeg(colours()[:, :, 0], quality=83)
    actual = answered(blob)
    assert (actual.mode, tables(actual)) == ("L", tables(Image.open(BytesIO(blob))))


@accepts(6, "rare samplings", oracle="Pillow", cases="{sampling}")
@pytest.mark.parametrize(("sampling", "expected"), [("440", 0), ("411", 1)])
def test_a_sampling_that_cannot_be_written_becomes_a_finer_one(sampling: str, expected: int) -> None:
    blob = simplejpeg.encode_jpeg(colours(), quality=90, colorsubsampling=sampling)
    assert get_sampling(answered(blob)) == expected


def test_a_turned_image_loses_no_chroma() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert get_sampling(answered(jpeg(colours(), subsampling=1, exif=exif))) == 0
    assert get_sampling(answered(jpeg(colours(), subsampling=2, exif=exif))) == 2


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_files_without_ycc_are_answered_at_their_steps(mode: str) -> None:
    out = BytesIO()
    Image.fromarray(colours()).convert(mode).save(out, "JPEG", quality=91, subsampling=0, keep_rgb=True)
    actual = answered(out.getvalue())
    assert get_sampling(actual) == 0
    assert tables(actual)[0] == tables(Image.open(BytesIO(out.getvalue())))[0]


@accepts(6, "`quality=`", oracle="Pillow's tables")
def test_a_given_quality_is_obeyed_and_the_rest_kept() -> None:
    for progressive in (False, True):
        actual = answered(jpeg(colours(), quality=40, subsampling=0, progressive=progressive), quality=97)
        assert tables(actual) == tables(Image.open(BytesIO(jpeg(colours(), quality=97))))
        assert (get_sampling(actual), bool(actual.info.get("progressive"))) == (0, progressive)


@accepts(6, "`HOURGLASS_IMAGE_QUALITY` for inputs that are no JPEG", oracle="Pillow's tables")
def test_other_inputs_get_the_quality_of_the_settings() -> None:
    blob = codec.encode(Picture(colours(), "image/png"), "image/jpeg", default_quality=35)
    assert tables(Image.open(BytesIO(blob))) == tables(Image.open(BytesIO(jpeg(colours(), quality=35))))


@accepts(6, "lossless WebP", oracle="the pixels of the input")
def test_lossless_webp_stays_so_unless_a_quality_is_given() -> None:
    out = BytesIO()
    Image.fromarray(colours()).save(out, "WEBP", lossless=True)
    picture = decode(out.getvalue())
    assert (np.asarray(Image.open(BytesIO(codec.encode(picture, "image/webp")))) == colours()).all()
    lossy = np.asarray(Image.open(BytesIO(codec.encode(picture, "image/webp", quality=50))))
    assert (lossy != colours()).any()


def test_progressive_noise_at_full_quality_is_answered() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    out = codec.encode(decode(jpeg(noise, quality=60, subsampling=0, progressive=True)), "image/jpeg", quality=100)
    assert Image.open(BytesIO(out)).size == (300, 300)


def test_standard_tables_are_libjpegs() -> None:
    for quality in range(1, 101):
        actual = tables(Image.open(BytesIO(jpeg(colours(), quality=quality))))
        assert tuple(actual[0]) == scale(STANDARD_LUMA, quality)
        assert tuple(actual[1]) == scale(STANDARD_CHROMA, quality)


def test_broken_headers_have_no_coding() -> None:
    blob = jpeg(colours())
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 0xFF
        read_coding(bytes(changed))  # returns, whatever the bytes are
    assert read_coding(blob[:100]) is None
    assert read_coding(b"\xff\xd8") is None


@accepts(6, "a JPEG with broken tables", oracle="Pillow's tables")
def test_broken_tables_fall_back_to_the_quality_of_the_settings() -> None:
    picture = decode(jpeg(colours()))
    assert picture.coding
    picture.coding = picture.coding._replace(tables=b"\0\1\2")
    actual = Image.open(BytesIO(codec.encode(picture, "image/jpeg", default_quality=77)))
    assert tables(actual) == tables(Image.open(BytesIO(jpeg(colours(), quality=77))))

"""Files that end too early: what is there is found by decoding the whole file, and compared with it."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any
from zlib import compress, crc32

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service import codec
from service.codec import LazyPicture, Picture, truncated
from service.errors import InvalidImage, TruncatedImage, UnsupportedImage
from tests.support.compatibility import accepts, refuses

Array = NDArray[Any]
WAVES = (128 + 90 * np.sin(np.indices((160, 96)).sum(0) / 9)[:, :, np.newaxis] + np.arange(3)).astype(np.uint8)
NOISY = (WAVES // 2 + np.random.default_rng(0).integers(0, 90, WAVES.shape)).astype(np.uint8)


def written(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(NOISY).convert(mode).save(out, kind, **options)
    return out.getvalue()


def decode(blob: bytes, *, allow: bool = False) -> Picture:
    formats = ("png", "jpeg", "webp", "tiff", "bmp", "gif")
    return LazyPicture(blob, formats=formats, max_pixels=1 << 20).decode(allow_truncated=allow)


EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
JPEGS: dict[str, dict[str, Any]] = {
    "simple": {},
    "grey": {"mode": "L"},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "progressive grey": {"mode": "L", "progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "EXIF": {"exif": EXIF},
    "CMYK": {"mode": "CMYK"},
}


@accepts(9, "a JPEG that lacks only its end marker", oracle="the pixels of the whole file", cases="{name}")
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_end_marker_is_whole(name: str) -> None:
    blob = written("JPEG", **JPEGS[name])
    for missing in (1, 2):
        recovered = decode(blob[:-missing])
        assert recovered.fraction == 1
        assert (recovered.pixels == decode(blob).pixels).all()


@accepts(
    9,
    "a JPEG that is cut in the middle, with `truncated=allow`; `X-Truncated` states the share",
    oracle="the rows before the cut",
    cases="{name} at {share}",
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", [name for name in JPEGS if "progressive" not in name])
def test_a_jpeg_cut_in_the_middle_states_its_share(name: str, share: float) -> None:
    blob = written("JPEG", **JPEGS[name])
    cut = blob[: int(share * len(blob))]
    with pytest.raises(TruncatedImage, match=r"truncated: \d+% of the image is there"):
        decode(cut)
    recovered, whole = decode(cut, allow=True), decode(blob)
    assert abs(recovered.fraction - share) < 0.3  # in rows of blocks; headers count among the bytes
    rows = int(recovered.fraction * whole.pixels.shape[0])
    assert (recovered.pixels[: rows - 16] == whole.pixels[: rows - 16]).all()
    assert (recovered.pixels[rows + 32 :] != whole.pixels[rows + 32 :]).any() or rows > 120


@pytest.mark.parametrize("name", ["progressive", "progressive grey"])
def test_a_progressive_jpeg_cut_has_less_detail_the_earlier(name: str) -> None:
    blob = written("JPEG", **JPEGS[name])
    shares = [decode(blob[: int(at * len(blob))], allow=True).fraction for at in (0.3, 0.6, 0.95)]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    with pytest.raises(TruncatedImage):
        decode(blob[: int(0.95 * len(blob))])


PARTIAL = [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("TIFF", "RGB")]


@accepts(
    9,
    "other formats that are cut, with `truncated=allow`",
    oracle="the rows of the whole file",
    cases="{kind} {mode} at {share}",
)
@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize(("kind", "mode"), PARTIAL)
def test_rows_before_the_cut_are_those_of_the_whole(kind: str, mode: str, share: float) -> None:
    out = BytesIO()
    image = Image.fromarray(NOISY[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(NOISY)
    (image if mode == "I;16" else image.convert(mode)).save(out, kind)
    blob = out.getvalue()
    cut = blob[: int(share * len(blob))]
    with pytest.raises(TruncatedImage, match=r"% of the image is there"):
        decode(cut)
    recovered, whole = decode(cut, allow=True), decode(blob)
    assert recovered.fraction == pytest.approx(share, abs=0.1)
    rows = int(recovered.fraction * 160)
    assert (recovered.pixels[:rows] == whole.pixels[:rows]).all()
    assert not recovered.pixels[rows + 2 :].any() or mode == "P"


@accepts(9, "a PNG without its last chunk", oracle="the pixels of the whole file", cases="{missing} bytes missing")
@pytest.mark.parametrize("missing", [1, 4, 12])
def test_a_png_without_its_end_chunk_is_whole(missing: int) -> None:
    blob = written("PNG")
    assert (decode(blob[:-missing]).pixels == NOISY).all()


def with_image_data(blob: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Replace the one IDAT chunk of a PNG, with a correct checksum."""
    start = blob.index(b"IDAT") - 4
    length = int.from_bytes(blob[start : start + 4])
    body = change(blob[start + 8 : start + 8 + length])
    chunk = b"IDAT" + body
    return blob[:start] + len(body).to_bytes(4) + chunk + crc32(chunk).to_bytes(4) + blob[start + 12 + length :]


CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "wrong": lambda body: body[:-4] + b"\0\0\0\0",
    "missing": lambda body: body[:-4],
    "followed by other bytes": lambda body: body + b"\0" * 9,
}


@accepts(9, "a PNG whose pixels have a wrong checksum", oracle="the pixels of the whole file", cases="{name}")
@pytest.mark.parametrize("name", CHECKSUMS)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_png_with_a_wrong_checksum_has_its_pixels(name: str, mode: str) -> None:
    blob = written("PNG", mode)
    assert (decode(with_image_data(blob, CHECKSUMS[name])).pixels == decode(blob).pixels).all()


def test_more_pixels_than_the_image_has_are_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[int] = []
    monkeypatch.setattr(truncated.zlib, "adler32", lambda block, value: sums.append(len(block)) or value)
    bomb = with_image_data(written("PNG"), lambda _: compress(b"\x09" * (64 << 20)))
    with suppress(InvalidImage, TruncatedImage):
        decode(bomb)
    assert 0 < sum(sums) <= 2 << 20


def test_a_png_that_is_damaged_in_the_middle_is_corrupt() -> None:
    damaged = with_image_data(written("PNG"), lambda body: body[:4000] + b"\xff" * 400 + body[4400:])
    for allow in (False, True):
        with pytest.raises(InvalidImage, match="corrupt"):
            decode(damaged, allow=allow)


@refuses(9, "a WebP that is cut", because="it has no rows to show; the share is stated", cases="at {share}")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_webp_states_which_share_of_its_bytes_is_there(share: float) -> None:
    blob = written("WEBP")
    for allow in (False, True):
        with pytest.raises(TruncatedImage, match=rf"{share:.0%} of the bytes are there|{share - 0.01:.0%} of"):
            decode(blob[: int(share * len(blob))], allow=allow)


@accepts(9, "any cut: an image or a 4xx, never a 5xx", oracle="the type of the error", cases="{kind}")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_any_cut_is_an_image_or_a_problem(kind: str) -> None:
    blob = written(kind)
    for at in range(0, len(blob), max(1, len(blob) // 97)):
        for allow in (False, True):
            with suppress(InvalidImage, TruncatedImage, UnsupportedImage):
                assert 0 <= decode(blob[:at], allow=allow).fraction <= 1


def test_corrupt_data_are_not_called_truncated() -> None:
    blob = bytearray(written("PNG"))
    blob[len(blob) // 2 :] = b"\xff" * (len(blob) - len(blob) // 2)
    with pytest.raises(InvalidImage, match="corrupt"):
        codec.decode(bytes(blob), formats=("png",), max_pixels=1 << 20)

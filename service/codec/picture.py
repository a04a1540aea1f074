"""Pictures: recognised by their bytes, measured by their header, then decoded whole or refused; and written again.

Pillow is the reference: plain pictures take a shorter way to the same pixels (`png`, `jpeg`), all others and all that
fails on that way are Pillow's, and so is every verdict.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.codec import exif, jpeg, png
from service.errors import ImageTooLarge, InvalidImage, Problem, UnsupportedImage

Pixels = NDArray[np.uint8]

# Read now, not while the first caller waits.
Image.preinit()
import_module("PIL.WebPImagePlugin")
# Pillow's own guard only warns below 179 megapixels; ours is the check in `Opened`.
Image.MAX_IMAGE_PIXELS = None

MAGIC = (
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", b"\xff\xd8\xff"),
    ("GIF", b"GIF8"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("BMP", b"BM"),
)
ENCODABLE = ("image/png", "image/jpeg", "image/webp")
FAST_PARSERS = {"PNG": png.parse, "JPEG": jpeg.parse}
COUNT_CHUNK_BYTES = 1 << 20  # bytes that are counted at once
MAX_JPEG_SCANS = (
    100  # of a JPEG, unless told otherwise: no real picture has more, and each costs a pass over all pixels
)
MAX_ICC_PROFILES, MAX_ICC_BYTES = 16, 1 << 20
# The modes whose 16 bits Pillow would saturate when converting; the high byte is the 8-bit picture.
SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(slots=True)
class Picture:
    """A decoded picture, upright. `pixels`: uint8 H,W,C, C 1 or 3; `alpha`: uint8 H,W; `depth`: bits it came with;
    `exif`: its camera's notes, orientation left out.
    """

    pixels: Pixels
    media_type: str
    alpha: Pixels | None = None
    icc: bytes | None = None
    bit_depth: int = 8
    exif: bytes | None = None


def detect_format(data: bytes, formats: Collection[str]) -> str:
    """Pillow's name of the format that the magic bytes tell. Raises UnsupportedImage unless it is allowed."""
    if not data:
        raise InvalidImage("the picture is empty")
    found = "WEBP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None
    for name, magic in MAGIC:
        if data.startswith(magic):
            found = name
            break
    if found is None or found.lower() not in formats:
        raise UnsupportedImage(f"these bytes are no picture of a format taken here ({', '.join(sorted(formats))})")
    return found


class LazyPicture:
    """A picture whose header is read and within bounds; its pixels are not decoded yet."""

    def __init__(
        self, data: bytes, *, formats: Collection[str], max_pixels: int, max_scans: int = MAX_JPEG_SCANS
    ) -> None:
        """Raises UnsupportedImage, InvalidImage or ImageTooLarge."""
        self._data = data
        self._format = detect_format(data, formats)
        scan = FAST_PARSERS.get(self._format)
        source = scan(data) if scan else None
        if self._format == "JPEG" or not source:
            _limit_repetition(data, self._format, max_scans)
        source = source or self._open_with_pillow(data)
        self._source: png.SimplePng | jpeg.SimpleJpeg | Image.Image | None = source
        self.width, self.height = source.size  # before orientation
        if self.width * self.height > max_pixels:
            raise ImageTooLarge(f"{self.width}x{self.height} pixels are over the limit of {max_pixels}")
        if not self.width * self.height:
            raise InvalidImage("the picture has no pixels")

    def decode(self) -> Picture:
        """The whole first frame, upright; once. Raises InvalidImage."""
        data, image = self._data, self._source
        self._data, self._source = b"", None  # neither is needed twice, and both may be large
        try:
            if isinstance(image, png.SimplePng | jpeg.SimpleJpeg):
                pixels, alpha = _split_alpha(image.pixels())
                return Picture(pixels, f"image/{self._format.lower()}", alpha)
            opened = image or self._open_with_pillow(data)
        except Exception:  # whatever it was, Pillow judges it
            opened = self._open_with_pillow(data)
        try:
            opened.load()
            return _to_picture(opened, self._format, deep=self._format == "PNG" and data[24] == 16)
        except Problem:
            raise
        except Exception as error:
            raise InvalidImage(f"the {self._format} is broken or cut off") from error

    def _open_with_pillow(self, data: bytes) -> Image.Image:
        try:
            return Image.open(BytesIO(data), formats=[self._format])
        except Exception as error:  # a reader may raise anything on hostile bytes
            raise InvalidImage(f"the header of the {self._format} is broken") from error


def _limit_repetition(data: bytes, name: str, max_scans: int) -> None:
    """Raises InvalidImage where a pass over all pixels, or an inflation of a profile, is asked for over and over."""
    mark, most, what = (b"\xff\xda", max_scans, "scans") if name == "JPEG" else (b"iCCP", MAX_ICC_PROFILES, "profiles")
    if (
        sum(data.count(mark, at, at + COUNT_CHUNK_BYTES) for at in range(0, len(data), COUNT_CHUNK_BYTES)) > most
    ):  # holds no lock for long
        raise InvalidImage(f"a {name} may have {most} {what}")


def is_fast_path(data: bytes) -> bool:
    """Whether it is a picture whose header is read the shorter way: soon, whatever else is in it."""
    return any(scan(data) for scan in FAST_PARSERS.values())


def decode(data: bytes, *, formats: Collection[str], max_pixels: int) -> Picture:
    """The whole first frame, upright. Raises UnsupportedImage, InvalidImage or ImageTooLarge."""
    return LazyPicture(data, formats=formats, max_pixels=max_pixels).decode()


def _to_picture(image: Image.Image, name: str, *, deep: bool) -> Picture:
    with suppress(Exception):  # a broken EXIF block is no reason to refuse the pixels
        ImageOps.exif_transpose(image, in_place=True)
    icc = image.info.get("icc_profile")
    notes = exif.without_orientation(image.getexif, image.size) if image.info.get("exif") else None
    if image.mode in SIXTEEN_BIT_MODES:
        deep = True
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    elif image.mode in ("RGB", "RGBX", "P", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    else:
        raise InvalidImage(f"pictures of mode {image.mode} are not taken")
    pixels, alpha = _split_alpha(np.asarray(image))
    keep_icc = isinstance(icc, bytes) and len(icc) <= MAX_ICC_BYTES and image.mode[0] == "R"
    return Picture(
        pixels=pixels,
        media_type=f"image/{name.lower()}",
        alpha=alpha,
        icc=icc if keep_icc else None,
        bit_depth=16 if deep else 8,
        exif=notes,
    )


def _split_alpha(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """H,W or H,W,C to H,W,1 or H,W,3 and the alpha, if any of it is less than opaque."""
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis], None
    if pixels.shape[2] in (1, 3):
        return pixels, None
    alpha = np.ascontiguousarray(pixels[:, :, -1])
    return np.ascontiguousarray(pixels[:, :, :-1]), None if (alpha == 255).all() else alpha


def encode(picture: Picture, media_type: str, *, quality: int = 90) -> bytes:
    """The picture as `image/png`, `image/jpeg` or `image/webp`. JPEG has no alpha: it comes back on black."""
    bands = picture.pixels
    if picture.alpha is not None:
        bands = (
            composite(bands, picture.alpha, "black")
            if media_type == "image/jpeg"
            else np.dstack([bands, picture.alpha])
        )
    icc = picture.icc if bands.shape[2] >= 3 else None
    if media_type == "image/png":
        return png.write(bands, icc, picture.exif)
    image = Image.fromarray(bands[:, :, 0] if bands.shape[2] == 1 else bands)
    out = BytesIO()
    extra = {name: value for name, value in (("icc_profile", icc), ("exif", picture.exif)) if value}
    if media_type == "image/jpeg":
        image.save(out, "JPEG", quality=quality, **extra)
    else:
        image.save(out, "WEBP", quality=quality, method=0, **extra)
    return out.getvalue()


def composite(pixels: Pixels, alpha: Pixels, background: Literal["black", "white"]) -> Pixels:
    """H,W,C over a background by H,W alpha, rounded to nearest."""
    over = pixels.astype(np.uint16) * alpha[:, :, np.newaxis]
    if background == "white":
        over += 255 * (255 - alpha[:, :, np.newaxis].astype(np.uint16))
    return ((over + 127) // 255).astype(np.uint8)

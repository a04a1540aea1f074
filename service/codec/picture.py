"""Detects the format of image files, checks their size before decoding, decodes and encodes them.

Simple PNG and JPEG files are decoded by the fast paths `png` and `jpeg`, which give the same pixels as Pillow. Pillow
decodes all other files, and also those on which a fast path fails. So the errors are always those of Pillow.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from service.codec import colour, jpeg, jpeg_segments, pillow_metadata, png, png_chunks, webp_chunks
from service.codec.metadata import MAX_METADATA_BYTES, FileParts, Metadata
from service.errors import ImageTooLarge, InvalidImage, Problem, UnsupportedImage

Pixels = NDArray[np.uint8]

# Load the plugins now, not during the first request.
Image.preinit()
import_module("PIL.WebPImagePlugin")
# Pillow's own limit only warns below 179 megapixels. `LazyPicture` checks the limit instead.
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
SPLITTERS = {"PNG": png_chunks.split, "JPEG": jpeg_segments.split, "WEBP": webp_chunks.split}
COUNT_CHUNK_BYTES = 1 << 20  # `bytes.count` holds the GIL, so count in chunks
# Default limit of scans in a JPEG file. Ordinary files have fewer, and each scan costs a pass over all pixels.
MAX_JPEG_SCANS = 100
SOS = b"\xff\xda"
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
# Pillow clips 16-bit values in these modes when it converts them to 8 bits. The high byte is used instead.
SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(slots=True)
class Picture:
    """A decoded image with its EXIF orientation applied.

    `pixels` is uint8 H,W,C with 1 or 3 channels. `alpha` is uint8 H,W, or None if the image is opaque. `icc` is the
    colour profile. `bit_depth` is the bits per sample of the file, 8 or 16.
    """

    pixels: Pixels
    media_type: str
    alpha: Pixels | None = None
    icc: bytes | None = None
    bit_depth: int = 8
    metadata: Metadata = field(default_factory=Metadata)


def detect_format(data: bytes, formats: Collection[str]) -> str:
    """Return Pillow's name of the format, by the magic bytes.

    `formats` are the allowed formats in lower case. Raises InvalidImage if `data` is empty, and UnsupportedImage if the
    format is unknown or not allowed.
    """
    if not data:
        raise InvalidImage("the image is empty")
    detected = "WEBP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None
    for name, magic in MAGIC:
        if data.startswith(magic):
            detected = name
            break
    if detected is None or detected.lower() not in formats:
        raise UnsupportedImage(f"the data are not an image in a supported format ({', '.join(sorted(formats))})")
    return detected


class LazyPicture:
    """An image whose header is parsed and within the limits. `decode` decodes its pixels."""

    def __init__(
        self, data: bytes, *, formats: Collection[str], max_pixels: int, max_scans: int = MAX_JPEG_SCANS
    ) -> None:
        """Parse the header.

        `formats` are the allowed formats in lower case. `max_scans` limits the scans of a JPEG file. Raises
        UnsupportedImage, InvalidImage or ImageTooLarge.
        """
        self._data = data
        self._format = detect_format(data, formats)
        self._parts: FileParts | None = None
        if self._format == "JPEG" and _count(SOS, data) > max_scans:
            jpeg_segments.limit_scans(data, max_scans)
        parse = FAST_PARSERS.get(self._format)
        source = (parse(data) if parse else None) or self._open_with_pillow()
        self._source: png.SimplePng | jpeg.SimpleJpeg | Image.Image | None = source
        self.width, self.height = source.size  # before the EXIF orientation is applied
        if self.width * self.height > max_pixels:
            raise ImageTooLarge(f"the image has {self.width}x{self.height} pixels, the limit is {max_pixels} pixels")
        if not self.width * self.height:
            raise InvalidImage("the image has no pixels")

    def decode(self) -> Picture:
        """Decode the first frame and apply the EXIF orientation. Can be called only once. Raises InvalidImage."""
        source = self._source
        self._source = None
        sixteen_bit = self._format == "PNG" and self._data[24] == 16
        try:
            if isinstance(source, png.SimplePng | jpeg.SimpleJpeg):
                pixels, alpha = _split_alpha(source.pixels())
                return Picture(pixels, f"image/{self._format.lower()}", alpha, metadata=source.metadata())
            image = source or self._open_with_pillow()
        except Exception:  # where a fast path fails, the result of Pillow counts
            image = self._open_with_pillow()
        finally:
            parts, self._parts = self._parts, None
            self._data = b""  # free the memory: both may be large
        try:
            image.load()
            return _to_picture(image, self._format, parts or FileParts(b""), sixteen_bit=sixteen_bit)
        except Problem:
            raise
        except Exception as error:
            raise InvalidImage(f"the {self._format} data are corrupt or truncated") from error

    def _open_with_pillow(self) -> Image.Image:
        """Open the image without its metadata."""
        split = SPLITTERS.get(self._format)
        self._parts = parts = split(self._data) if split else FileParts(self._data)
        try:
            image = Image.open(BytesIO(parts.image), formats=[self._format])
            if not split:
                pillow_metadata.take(parts, image)
        except Exception as error:  # Pillow may raise any exception on hostile bytes
            raise InvalidImage(f"the {self._format} header is corrupt") from error
        parts.image = b""
        return image


def _count(marker: bytes, data: bytes) -> int:
    """Count the marker anywhere in the data, so at least as often as it occurs in the structure of the file."""
    starts = range(0, len(data), COUNT_CHUNK_BYTES)
    return sum(data.count(marker, start, start + COUNT_CHUNK_BYTES) for start in starts)


def is_fast_path(data: bytes) -> bool:
    """Return whether a fast path supports the image, so that its header is parsed in a short time."""
    return any(parse(data) for parse in FAST_PARSERS.values())


def decode(data: bytes, *, formats: Collection[str], max_pixels: int) -> Picture:
    """Decode the first frame of an image and apply its EXIF orientation.

    Raises UnsupportedImage, InvalidImage or ImageTooLarge.
    """
    return LazyPicture(data, formats=formats, max_pixels=max_pixels).decode()


def _to_picture(image: Image.Image, name: str, parts: FileParts, *, sixteen_bit: bool) -> Picture:
    if parts.metadata.orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[parts.metadata.orientation])
    converted = image.mode in colour.MODES
    if image.mode in SIXTEEN_BIT_MODES:
        sixteen_bit = True
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif converted:
        if name == "JPEG" and not parts.inverted_cmyk:  # Pillow inverts the CMYK values of every JPEG
            image = ImageChops.invert(image)
        image = colour.to_srgb(image, parts.icc)
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    elif image.mode in ("RGB", "RGBX", "P", "YCbCr"):
        image = image.convert("RGB")
    else:
        raise InvalidImage(f"images of Pillow mode {image.mode} are not supported")
    pixels, alpha = _split_alpha(np.asarray(image))
    icc = parts.icc
    if icc and (converted or len(icc) > MAX_METADATA_BYTES or colour.profile_space(icc) is None):
        icc = b""
        parts.metadata.mark_broken("icc")
    return Picture(
        pixels=pixels,
        media_type=f"image/{name.lower()}",
        alpha=alpha,
        icc=icc or None,
        bit_depth=16 if sixteen_bit else 8,
        metadata=parts.metadata,
    )


def _split_alpha(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Split uint8 H,W or H,W,C into H,W,1 or H,W,3 and alpha H,W. The alpha is None if all pixels are opaque."""
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis], None
    if pixels.shape[2] in (1, 3):
        return pixels, None
    alpha = np.ascontiguousarray(pixels[:, :, -1])
    return np.ascontiguousarray(pixels[:, :, :-1]), None if (alpha == 255).all() else alpha


def encode(picture: Picture, media_type: str, *, quality: int = 90) -> bytes:
    """Encode as `image/png`, `image/jpeg` or `image/webp`.

    `quality` is 1 to 100, for JPEG and WebP. JPEG has no alpha, so the image is composited on black.
    """
    pixels = picture.pixels
    if picture.alpha is not None:
        if media_type == "image/jpeg":
            pixels = composite(pixels, picture.alpha, "black")
        else:
            pixels = np.dstack([pixels, picture.alpha])
    metadata, _ = picture.metadata.fitting(media_type)
    icc = _fitting_profile(picture, media_type)
    if media_type == "image/png":
        return png.write(pixels, icc, metadata)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    file = BytesIO()
    if media_type == "image/jpeg":
        image.save(file, "JPEG", quality=quality)
        return jpeg_segments.insert(file.getvalue(), icc, metadata)
    image.save(file, "WEBP", quality=quality, method=0, icc_profile=icc, exif=metadata.exif, xmp=metadata.xmp)
    return file.getvalue()


def dropped_metadata(picture: Picture, media_type: str) -> list[str]:
    """Return the kinds of metadata that `encode` leaves out or that were left out on decoding, sorted."""
    _, lost = picture.metadata.fitting(media_type)
    if picture.icc and not _fitting_profile(picture, media_type):
        lost = lost | {"icc"}
    return sorted(lost)


def _fitting_profile(picture: Picture, media_type: str) -> bytes | None:
    """Return the profile if it describes the channels of the encoded file. WebP has no grey."""
    channels = 3 if media_type == "image/webp" else picture.pixels.shape[2]
    return picture.icc if picture.icc and colour.fits(picture.icc, channels) else None


def composite(pixels: Pixels, alpha: Pixels, background: Literal["black", "white"]) -> Pixels:
    """Composite uint8 H,W,C on a background by uint8 H,W alpha. Round to the nearest integer."""
    weighted = pixels.astype(np.uint16) * alpha[:, :, np.newaxis]
    if background == "white":
        weighted += 255 * (255 - alpha[:, :, np.newaxis].astype(np.uint16))
    return ((weighted + 127) // 255).astype(np.uint8)

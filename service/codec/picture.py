"""Opens image files, checks their size before decoding, and decodes them.

Simple PNG and JPEG files are decoded by the fast paths `png` and `jpeg`, which give the same pixels as Pillow. Pillow
decodes all other files, and also those on which a fast path fails. So the errors are always those of Pillow.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from service.codec import (
    bit_depth,
    colour,
    jpeg,
    jpeg_segments,
    pillow_metadata,
    png,
    png_chunks,
    tiff_samples,
    webp_chunks,
)
from service.codec.grey import is_grey
from service.codec.jpeg_coding import JpegCoding, describe_unsupported, read_coding
from service.codec.limits import TOO_LARGE_HINT, describe_limit, fits
from service.codec.metadata import FileParts, Metadata
from service.codec.signatures import detect_format
from service.codec.truncated import recover, webp_byte_fraction
from service.errors import ImageTooLarge, InvalidImage, Problem, TruncatedImage, UnsupportedImage

Pixels = NDArray[np.uint8]

# Load the plugins now, not during the first request.
Image.preinit()
import_module("PIL.WebPImagePlugin")
import_module("PIL.AvifImagePlugin")
# Pillow's own limit only warns below 179 megapixels. `LazyPicture` checks the limit instead.
Image.MAX_IMAGE_PIXELS = None

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
# Largest difference of the channels of a grey pixel: lossy WebP files do not store grey exactly.
GREY_TOLERANCE = {"WEBP": 1}


@dataclass(slots=True)
class Picture:
    """A decoded image with its EXIF orientation applied.

    `pixels` is uint8 H,W,C with 1 or 3 channels. `alpha` is uint8 H,W, or None if the image is opaque. `icc` is the
    colour profile. `bit_depth` is the significant bits per sample of the file. `coding` says how a JPEG file was coded.
    `lossless` says whether a WebP file is lossless. `grey` says whether all visible pixels are grey, even if there are
    three channels. `fraction` is the share of a truncated image that could be decoded, 0 to 1, and 1 for a whole image.
    """

    pixels: Pixels
    media_type: str
    alpha: Pixels | None = None
    icc: bytes | None = None
    bit_depth: int = 8
    metadata: Metadata = field(default_factory=Metadata)
    coding: JpegCoding | None = None
    lossless: bool = False
    grey: bool = False
    fraction: float = 1.0


@dataclass(slots=True)
class OpenedImage:
    """An image that Pillow has opened but not loaded, and the parts of its file.

    `samples` is the number of columns of `image` that form one pixel: 3 for a colour image opened as a grey one.
    """

    image: Image.Image
    parts: FileParts
    samples: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self.image.size
        return width // self.samples, height


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
        if self._format == "JPEG" and _count(SOS, data) > max_scans:
            jpeg_segments.limit_scans(data, max_scans)
        parse = FAST_PARSERS.get(self._format)
        source = parse(data) if parse else None
        source = source or self._open_image()
        self._source: png.SimplePng | jpeg.SimpleJpeg | OpenedImage | None = source
        self.width, self.height = source.size  # before the EXIF orientation is applied
        if self.width * self.height > max_pixels:
            raise ImageTooLarge(
                f"the image has {self.width}x{self.height} pixels, the limit is {max_pixels} pixels; {TOO_LARGE_HINT}"
            )
        if not self.width * self.height:
            raise InvalidImage("the image has no pixels")
        self.media_type = f"image/{self._format.lower()}"
        if self._format == "JPEG" and not fits(self.media_type, source.size):
            raise InvalidImage(f"{describe_limit(self.media_type)}, and this one has {max(source.size)}")

    def decode(self, *, allow_truncated: bool = False) -> Picture:
        """Decode the first frame and apply the EXIF orientation. Can be called only once.

        `allow_truncated` accepts files that end too early, if a part can be decoded. Raises InvalidImage, and
        TruncatedImage if it is not set.
        """
        picture = self._decode(allow_truncated)
        tolerance = GREY_TOLERANCE.get(self._format, 0)
        picture.grey = picture.pixels.shape[2] == 1 or is_grey(picture.pixels, picture.alpha, tolerance=tolerance)
        return picture

    def _decode(self, allow_truncated: bool) -> Picture:
        source = self._source
        self._source = None
        try:
            if isinstance(source, png.SimplePng | jpeg.SimpleJpeg):
                pixels, alpha = _split_alpha(source.pixels())
                coding = source.coding if isinstance(source, jpeg.SimpleJpeg) else None
                return Picture(pixels, self.media_type, alpha, coding=coding, metadata=source.metadata())
            opened = source or self._open_image()
        except Exception:  # where a fast path fails, the result of Pillow counts
            opened = self._open_image()
        finally:
            self._data = b""  # free the memory
        image, parts = opened.image, opened.parts
        data = parts.image
        try:
            raw_mode = bit_depth.wide_raw_mode(image)
            image, fraction = self._load(image, data, allow_truncated)
            wide: bit_depth.EightBits | None = None
            if image.mode in bit_depth.WIDE_MODES:
                wide = bit_depth.convert_single(image, data)
                if opened.samples > 1:
                    wide.samples = wide.samples.reshape(self.height, self.width, opened.samples)
            elif raw_mode:
                wide = bit_depth.convert_channels(image, raw_mode, data, lambda: self._open_with_pillow(data))
            picture = _to_picture(image, self._format, parts, wide)
            picture.fraction = fraction
            if self._format == "JPEG" and (coding := read_coding(data)):
                picture.coding = coding._replace(turned=parts.metadata.is_transposed())
            picture.lossless = self._format == "WEBP" and _is_lossless_webp(data)
            return picture
        except Problem:
            raise
        except Exception as error:
            raise _explain(data, self._format, "data are corrupt or truncated") from error

    def _load(self, image: Image.Image, data: bytes, allow_truncated: bool) -> tuple[Image.Image, float]:
        """Return a loaded image and its decoded share. Raises TruncatedImage or an error of Pillow."""
        try:
            image.load()
        except OSError as error:
            is_cut = "truncated" in str(error)
            can_recover = is_cut or self._format == "PNG"  # a PNG whose checksum is wrong may have all its pixels
            recovered = recover(data, self._format, self._open_with_pillow) if can_recover else None
            if recovered is None or (recovered.fraction < 1 and not is_cut):
                raise
            if recovered.fraction < 1 and not allow_truncated:
                there = f"{recovered.fraction:.0%} of the image" if recovered.fraction else "less than 1% of the image"
                problem = TruncatedImage(
                    f"the {self._format} data are truncated: {there} is there; send the whole file"
                )
                problem.can_be_allowed = True
                raise problem from error
            return recovered.image, recovered.fraction
        return image, 1.0

    def _open_image(self) -> OpenedImage:
        """Split the file and open the image with Pillow, which does not see the metadata of most formats."""
        split = SPLITTERS.get(self._format)
        parts = split(self._data) if split else FileParts(self._data)
        grey = tiff_samples.as_grey(parts.image) if self._format == "TIFF" else None
        image = self._open_with_pillow(grey.data if grey else parts.image)
        if self._format == "TIFF":
            tiff_samples.reject_unreadable(image)
        if not split:
            pillow_metadata.take(parts, image)
        return OpenedImage(image, parts, grey.channels if grey else 1)

    def _open_with_pillow(self, data: bytes) -> Image.Image:
        try:
            return Image.open(BytesIO(data), formats=[self._format])
        except Exception as error:  # Pillow may raise any exception on hostile bytes
            if self._format == "WEBP" and (fraction := webp_byte_fraction(data)) is not None:
                raise TruncatedImage(
                    f"the WebP data are truncated: {fraction:.0%} of the bytes are there; "
                    "send the whole file, since a part of a WebP cannot be decoded"
                ) from error
            raise _explain(data, self._format, "header is corrupt") from error


def _explain(data: bytes, name: str, cause: str) -> Problem:
    """Return the problem of an image that Pillow cannot open or decode."""
    kind = describe_unsupported(data) if name == "JPEG" else None
    if kind:
        return UnsupportedImage(f"the image is {kind}, which cannot be decoded; convert it to PNG or a usual JPEG")
    kinds = ", or it has samples of a kind that cannot be read" if name == "TIFF" and "header" in cause else ""
    return InvalidImage(f"the {name} {cause}{kinds}")


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


def _heif_bits(image: Image.Image, name: str) -> int:
    """Return the bits per sample that a HEIF file states, and 8 for other formats."""
    bits = image.info.get("bit_depth") if name == "HEIF" else None
    return bits if isinstance(bits, int) else 8


def _is_lossless_webp(data: bytes) -> bool:
    """Return whether the first image chunk of a WebP file is lossless."""
    lossy, lossless = data.find(b"VP8 ", 12), data.find(b"VP8L", 12)
    return lossless >= 0 and (lossy < 0 or lossless < lossy)


def _to_picture(image: Image.Image, name: str, parts: FileParts, wide: bit_depth.EightBits | None) -> Picture:
    """Convert a loaded image. `wide` is set if it has more than 8 bits per sample."""
    if wide is not None:
        image = Image.fromarray(wide.samples)
    if parts.metadata.orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[parts.metadata.orientation])
    converted = image.mode in colour.MODES
    if converted:
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
    if icc and (converted or colour.profile_space(icc) is None):
        icc = b""
        parts.metadata.mark_broken("icc")
    return Picture(
        pixels=pixels,
        media_type=f"image/{name.lower()}",
        alpha=alpha,
        icc=icc or None,
        bit_depth=wide.bit_depth if wide is not None else _heif_bits(image, name),
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

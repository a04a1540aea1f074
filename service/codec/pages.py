"""Splits files of several pages, and encodes the formats that scanners write: TIFF, BMP, GIF and AVIF.

The HTTP API reads these formats by a setting and never writes them; the command line does both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

from service.codec.picture import ENCODABLE, NEW_SUBFILE_TYPE, REDUCED_IMAGE, Picture, encode, fitting_profile
from service.codec.pillow_metadata import PHOTOSHOP_TAG, XMP_TAG
from service.errors import ImageTooLarge, InvalidImage, Problem

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PAGED_TYPES = ("image/tiff", "image/bmp", "image/gif", *(("image/avif",) if features.check("avif") else ()))
WRITABLE = (*ENCODABLE, *PAGED_TYPES)
LOSSY = ("image/jpeg", "image/webp", "image/avif")
"""Media types with a quality."""


@dataclass(frozen=True, slots=True)
class PagedImage:
    """A file as one image file per page, and its resolution in dots per inch if it states one.

    `frames` is the number of frames of an animation, of which the page is the first; 1 for others.
    """

    pages: list[bytes]
    dpi: tuple[float, float] | None = None
    frames: int = 1


def read_pages(data: bytes, *, max_pages: int, max_pixels: int) -> PagedImage:
    """Split a TIFF file into its pages; previews of pages are left out. Any other file is one page.

    Raises InvalidImage if a page is corrupt, and ImageTooLarge if there are more than `max_pages` or a page has more
    than `max_pixels`.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            dpi, frames = _resolution(image), int(getattr(image, "n_frames", 1))
            if data[:4] in TIFF_MAGIC and frames > 1:
                return PagedImage(_split_tiff(image, frames, max_pages, max_pixels), dpi)
    except Problem:
        raise
    except Exception:  # Pillow may raise any exception on hostile bytes; opening the image explains what is wrong
        return PagedImage([data])
    return PagedImage([data], dpi, frames)


def _split_tiff(image: Image.Image, frames: int, max_pages: int, max_pixels: int) -> list[bytes]:
    if frames > max_pages:
        raise ImageTooLarge(f"the TIFF has {frames} pages, the limit is {max_pages}")
    pages: list[bytes] = []
    for number in range(frames):
        file = BytesIO()
        try:
            image.seek(number)
            if _subfile_type(image) & REDUCED_IMAGE:
                continue
            if image.width * image.height > max_pixels:
                size = f"{image.width}x{image.height}"
                raise ImageTooLarge(f"page {number + 1} has {size} pixels, the limit is {max_pixels} pixels")
            image.save(file, "TIFF", compression="raw", icc_profile=image.info.get("icc_profile"))
        except Problem:
            raise
        except Exception as error:
            raise InvalidImage(f"page {number + 1} of the TIFF is corrupt or truncated") from error
        pages.append(file.getvalue())
    return pages


def _subfile_type(image: Image.Image) -> int:
    tags: Any = getattr(image, "tag_v2", {})
    return int(tags.get(NEW_SUBFILE_TYPE, 0))


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    """Return the dots per inch across and down, or None if the file does not state them."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if across > 0 and down > 0 else None


def encode_pages(pictures: Sequence[Picture], media_type: str, dpi: tuple[float, float] | None, quality: int) -> bytes:
    """Encode pages as one TIFF file, or one picture as BMP, GIF or AVIF.

    GIF has at most 256 colours; grey pictures lose nothing. `quality` (1..100) is for AVIF.
    """
    first, *others = (_to_image(picture) for picture in pictures)
    options: dict[str, Any] = {"dpi": dpi} if dpi else {}
    if icc := fitting_profile(pictures[0], media_type):
        options["icc_profile"] = icc
    metadata, _ = pictures[0].metadata.fitting(media_type)
    file = BytesIO()
    if media_type == "image/tiff":
        tags = {XMP_TAG: metadata.xmp, PHOTOSHOP_TAG: metadata.photoshop}
        options["tiffinfo"] = {tag: value for tag, value in tags.items() if value}
        first.save(file, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=others, **options)
    elif media_type == "image/gif":
        palette = first.quantize(dither=Image.Dither.NONE) if first.mode in ("RGB", "RGBA") else first
        palette.save(file, "GIF")
    elif media_type == "image/avif":
        first.save(file, "AVIF", quality=quality, exif=metadata.exif, xmp=metadata.xmp, **options)
    else:
        first.save(file, "BMP", **options)
    return file.getvalue()


def encode_any(
    pictures: Sequence[Picture],
    media_type: str,
    dpi: tuple[float, float] | None,
    *,
    quality: int | None = None,
    default_quality: int = 90,
) -> bytes:
    """Encode pictures as any type of `WRITABLE`; only TIFF holds more than one.

    `quality` is 1..100, for the types of `LOSSY`. Without it, a JPEG and a lossless WebP are coded as they were, and
    others with `default_quality`.
    """
    if media_type in ENCODABLE:
        return encode(pictures[0], media_type, quality=quality, default_quality=default_quality)
    return encode_pages(pictures, media_type, dpi, quality or default_quality)


def _to_image(picture: Picture) -> Image.Image:
    pixels = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)

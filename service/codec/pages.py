"""Splits files of several pages, and encodes the formats that scanners write: TIFF, BMP, GIF and AVIF.

The HTTP API reads these formats by a setting and never writes them; the command line does both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from struct import Struct
from typing import Any, overload

import numpy as np
from PIL import Image, features

from service.codec.encoder import ENCODABLE, encode, fitting_profile, pixels_for
from service.codec.limits import TOO_LARGE_HINT
from service.codec.picture import Picture
from service.codec.pillow_metadata import PHOTOSHOP_TAG, XMP_TAG
from service.codec.tiff_samples import NEW_SUBFILE_TYPE, REDUCED_IMAGE
from service.errors import ImageTooLarge, InvalidImage, Problem

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PAGED_TYPES = ("image/tiff", "image/bmp", "image/gif", *(("image/avif",) if features.check("avif") else ()))
TIFF_COMPRESSION = "tiff_adobe_deflate"
WRITABLE = (*ENCODABLE, *PAGED_TYPES)
LOSSY = ("image/jpeg", "image/webp", "image/avif")
"""Media types with a quality."""


@dataclass(frozen=True, slots=True)
class PagedImage:
    """A file as one image file per page, each made when it is read.

    `frames` is the number of frames of an animation, of which the page is the first; 1 for others.
    """

    pages: Sequence[bytes]
    frames: int = 1


class TiffPages(Sequence[bytes]):
    """The pages of a TIFF file as files of one page. `offsets` are those of their directories."""

    def __init__(self, data: bytes, offsets: Sequence[int]) -> None:
        self._data = data
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return a copy of the file that has the directory of this page alone."""
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        big = self._data[2:4] in (b"+\0", b"\0+")
        order = "<" if self._data[:2] == b"II" else ">"
        pointer = Struct(order + ("Q" if big else "I"))
        head = self._data[: 8 if big else 4] + pointer.pack(self._offsets[index])
        directory = self._offsets[index]
        count = Struct(order + ("Q" if big else "H"))
        following = directory + count.size + count.unpack_from(self._data, directory)[0] * (20 if big else 12)
        rest = (self._data[len(head) : following], bytes(pointer.size), self._data[following + pointer.size :])
        return b"".join((head, *rest))


def read_pages(data: bytes, *, max_pages: int, max_pixels: int) -> PagedImage:
    """Split a TIFF file into its pages; previews of pages are left out. Any other file is one page.

    Raises InvalidImage if the directory of a page is corrupt, and ImageTooLarge if there are more than `max_pages` or
    a page has more than `max_pixels`.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            frames = _count_frames(image)
            if data[:4] in TIFF_MAGIC and frames > 1:
                return PagedImage(TiffPages(data, _page_offsets(image, frames, max_pages, max_pixels)))
    except Problem:
        raise
    except Exception:  # Pillow may raise any exception on hostile bytes; opening the image explains what is wrong
        return PagedImage([data])
    return PagedImage([data], frames)


def _count_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:
        if image.format != "TIFF":
            raise
        raise InvalidImage("the directory of a page of the TIFF is corrupt or truncated") from error


def _page_offsets(image: Image.Image, frames: int, max_pages: int, max_pixels: int) -> list[int]:
    if frames > max_pages:
        raise ImageTooLarge(f"the TIFF has {frames} pages, the limit is {max_pages}")
    offsets: list[int] = []
    for number in range(frames):
        try:
            image.seek(number)
        except Exception as error:
            raise InvalidImage(f"page {number + 1} of the TIFF is corrupt or truncated") from error
        tags: Any = getattr(image, "tag_v2", {})
        if int(tags.get(NEW_SUBFILE_TYPE, 0)) & REDUCED_IMAGE:
            continue
        if image.width * image.height > max_pixels:
            size = f"{image.width}x{image.height}"
            raise ImageTooLarge(
                f"page {number + 1} has {size} pixels, the limit is {max_pixels} pixels; {TOO_LARGE_HINT}"
            )
        offsets.append(tags.offset)
    return offsets


def encode_pages(pictures: Sequence[Picture], media_type: str, quality: int) -> bytes:
    """Encode pages as one TIFF file, or one picture as BMP, GIF or AVIF.

    GIF has at most 256 colours; grey pictures lose nothing. `quality` (1..100) is for AVIF.
    """
    first, *others = [_to_image(picture, media_type) for picture in pictures]
    metadata, _ = pictures[0].metadata.fitting(media_type)
    options: dict[str, Any] = {}
    if metadata.density and metadata.density.unit != "none":
        options["dpi"] = metadata.density.per("inch")
    if icc := fitting_profile(pictures[0], media_type):
        options["icc_profile"] = icc
    file = BytesIO()
    if media_type == "image/tiff":
        for image, picture in zip((first, *others), pictures, strict=True):
            image.encoderinfo = _page_options(picture)
        options |= first.encoderinfo
        first.save(file, "TIFF", compression=TIFF_COMPRESSION, save_all=True, append_images=others, **options)
    elif media_type == "image/gif":
        palette = first.quantize(dither=Image.Dither.NONE) if first.mode in ("RGB", "RGBA") else first
        palette.save(file, "GIF")
    elif media_type == "image/avif":
        first.save(file, "AVIF", quality=quality, exif=metadata.exif, xmp=metadata.xmp, **options)
    else:
        first.save(file, "BMP", **options)
    return file.getvalue()


def _page_options(picture: Picture) -> dict[str, Any]:
    """Return the options with which Pillow writes the profile, resolution and metadata of one page of a TIFF file."""
    metadata, _ = picture.metadata.fitting("image/tiff")
    tags = {XMP_TAG: metadata.xmp, PHOTOSHOP_TAG: metadata.photoshop}
    options: dict[str, Any] = {"tiffinfo": {tag: value for tag, value in tags.items() if value}}
    options["icc_profile"] = fitting_profile(picture, "image/tiff")
    has_unit = metadata.density and metadata.density.unit != "none"
    options["dpi"] = metadata.density.per("inch") if metadata.density and has_unit else None
    return options


def encode_any(
    pictures: Sequence[Picture], media_type: str, *, quality: int | None = None, default_quality: int = 90
) -> bytes:
    """Encode pictures as any type of `WRITABLE`; only TIFF holds more than one.

    `quality` is 1..100, for the types of `LOSSY`. Without it, a JPEG and a lossless WebP are coded as they were, and
    others with `default_quality`.
    """
    if media_type in ENCODABLE:
        return encode(pictures[0], media_type, quality=quality, default_quality=default_quality)
    return encode_pages(pictures, media_type, quality or default_quality)


def _to_image(picture: Picture, media_type: str) -> Image.Image:
    pixels = pixels_for(picture, media_type)
    pixels = pixels if picture.alpha is None else np.dstack([pixels, picture.alpha])
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)

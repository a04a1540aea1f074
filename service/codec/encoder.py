"""Encodes images as PNG, JPEG and WebP, with the metadata and the colour profile that each format can hold."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from service.codec import calibration, colour, jpeg_segments, png
from service.codec.alpha import composite
from service.codec.jpeg_coding import save_options, with_quality
from service.codec.limits import require_fits
from service.codec.metadata import HELD_FIELDS, MAX_METADATA_BYTES, is_srgb
from service.codec.picture import Picture, Pixels

TYPES_WITHOUT_PROFILE = ("image/bmp", "image/gif")
TYPES_WITHOUT_GREY = ("image/webp", "image/avif")
ENCODABLE = ("image/png", "image/jpeg", "image/webp")


def encode(picture: Picture, media_type: str, *, quality: int | None = None, default_quality: int = 90) -> bytes:
    """Encode as `image/png`, `image/jpeg` or `image/webp`.

    `quality` is 1 to 100, for JPEG and WebP. Without it, an image from a JPEG file is coded as JPEG in the same way as
    that file, an image from a lossless WebP file as lossless WebP, and others with `default_quality`. JPEG has no
    alpha, so the image is composited on black. Raises NotAcceptable if the format cannot hold an image of this size.
    """
    require_fits(media_type, picture.pixels.shape[1::-1])
    pixels = pixels_for(picture, media_type)
    if picture.alpha is not None:
        if media_type == "image/jpeg":
            pixels = composite(pixels, picture.alpha, "black")
        else:
            pixels = np.dstack([pixels, picture.alpha])
    metadata, _ = picture.metadata.fitting(media_type)
    icc = fitting_profile(picture, media_type)
    if media_type == "image/png":
        return png.write(pixels, icc, metadata)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if media_type == "image/jpeg":
        options = save_options(picture.coding, pixels.shape[2]) if picture.coding else {}
        if quality or not options.keys() & {"quality", "qtables"}:
            options = with_quality(options, quality or default_quality)
        return jpeg_segments.insert(_save_jpeg(image, options), icc, metadata)
    options = {"quality": quality or default_quality}
    if picture.lossless and quality is None:
        options = {"lossless": True, "exact": True, "quality": 0}
    file = BytesIO()
    image.save(file, "WEBP", method=0, icc_profile=icc, exif=metadata.exif, xmp=metadata.xmp, **options)
    return file.getvalue()


def pixels_for(picture: Picture, media_type: str) -> Pixels:
    """Return the pixels for a file of this type: converted to sRGB if it cannot hold what describes their colours."""
    icc = picture.icc
    if icc and fitting_profile(picture, media_type):
        return picture.pixels
    if not icc and "colour" not in HELD_FIELDS[media_type] and picture.metadata.colour:
        icc = calibration.of_png(picture.metadata.colour) if not is_srgb(picture.metadata.colour) else None
    return colour.pixels_to_srgb(picture.pixels, icc) if icc else picture.pixels


def dropped_metadata(picture: Picture, media_type: str) -> list[str]:
    """Return the kinds of metadata that a file of this type leaves out or that were left out on decoding, sorted."""
    _, lost = picture.metadata.fitting(media_type)
    if picture.icc and not fitting_profile(picture, media_type):
        lost = lost | {"icc"}
    return sorted(lost)


def fitting_profile(picture: Picture, media_type: str) -> bytes | None:
    """Return the profile if the format can hold it and it describes the channels of the encoded file."""
    if media_type in TYPES_WITHOUT_PROFILE:
        return None
    channels = 3 if media_type in TYPES_WITHOUT_GREY else picture.pixels.shape[2]
    icc = picture.icc
    return icc if icc and len(icc) <= MAX_METADATA_BYTES and colour.fits(icc, channels) else None


def _save_jpeg(image: Image.Image, options: dict[str, Any]) -> bytes:
    """Save as JPEG. Noise may exceed Pillow's memory for a progressive file; then it is saved as baseline."""
    file = BytesIO()
    try:
        image.save(file, "JPEG", **options)
    except OSError:
        if not options.get("progressive"):
            raise
        file = BytesIO()
        image.save(file, "JPEG", **{**options, "progressive": False})
    return file.getvalue()

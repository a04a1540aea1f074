"""Preprocesses images for a model and postprocesses its outputs, in the same way for every front end."""

import numpy as np

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import LazyPicture, Picture
from service.config import Settings
from service.types import Array

DEFAULT_FILL_RADIUS = 64
"""Pixels to which transparent areas are filled, for models that do not state their receptive radius."""


def open_picture(data: bytes, card: Card, settings: Settings) -> LazyPicture:
    """Parse the header of an image for a model.

    The limit of pixels depends on whether the model takes any size. Raises UnsupportedImage, InvalidImage or
    ImageTooLarge.
    """
    max_pixels = settings.max_pixels_any_size if card.any_size else settings.max_pixels
    return LazyPicture(data, formats=settings.allowed_formats, max_pixels=max_pixels, max_scans=settings.max_jpeg_scans)


def preprocess(picture: Picture, card: Card, operation: Operation, settings: Settings) -> Array:
    """Return the pixels in the size and channels of the model, as uint8 H,W,C.

    For denoise, fully transparent pixels are filled from the visible ones, and `postprocess` restores them. For other
    operations the image is composited on the background colour of the settings. Raises TypeError for a model of
    vectors.
    """
    if not isinstance(card.input, ImageInput):
        raise TypeError("a model of vectors does not take images")
    pixels = picture.pixels
    if picture.alpha is not None and operation != "denoise":
        pixels = codec.composite(pixels, picture.alpha, settings.alpha_background)
    else:
        if picture.alpha is not None:
            pixels = codec.fill_transparent(pixels, picture.alpha, card.receptive_radius or DEFAULT_FILL_RADIUS)
        if picture.grey:
            pixels = codec.fit_to_size(pixels, None, None, 1)
    return codec.fit_to_size(pixels, card.input.height, card.input.width, card.input.channels)


def image_media_type(image: Picture | LazyPicture | None, size: tuple[int, int] | None = None) -> str:
    """Return the media type for an output image: that of the input `image` if it can be encoded, else PNG.

    `size` is the two sides of the output in pixels, if known. PNG is also chosen if the type cannot hold this size.
    """
    if image is None or image.media_type not in codec.ENCODABLE:
        return "image/png"
    return image.media_type if size is None or codec.fits(image.media_type, size) else "image/png"


def output_size(image: LazyPicture | None, array: Array | None, card: Card, operation: Operation) -> tuple[int, int]:
    """Return width and height in pixels of an output image, before the model runs. Return (0, 0) if it is unknown.

    The input is an encoded image or an array, N first. The EXIF orientation of an image may exchange both sides.
    """
    if isinstance(card.input, ImageInput) and card.input.height and card.input.width:
        return card.input.width, card.input.height
    if image is not None:
        return image.width, image.height
    if array is not None and operation != "decode" and array.ndim == 4:
        return array.shape[2], array.shape[1]
    return 0, 0


def postprocess(output: Array, picture: Picture | None, keep_metadata: bool) -> Picture:
    """Return an output of the model (uint8 H,W,C) as an image like the input `picture`.

    The result has the alpha and the ICC profile of the input, and is grey if the input was grey. Fully transparent
    pixels are those of the input, unless the size or the channels changed. If `keep_metadata` is true,
    the metadata are those of the input, adapted to the size. If `picture` is None, the output is not changed.
    """
    if picture is None:
        return Picture(output, "image/png")
    height, width = output.shape[:2]
    channels = 1 if picture.pixels.shape[2] == 1 else output.shape[2]
    if picture.grey:
        output = codec.fit_to_size(output, None, None, 1)
    alpha = None if picture.alpha is None else codec.fit_alpha_to_size(picture.alpha, height, width)
    metadata = picture.metadata.upright((width, height)) if keep_metadata else picture.metadata.stripped()
    pixels = codec.fit_to_size(output, None, None, channels)
    if picture.alpha is not None and pixels.shape == picture.pixels.shape:
        pixels = np.where(picture.alpha[:, :, np.newaxis] == 0, picture.pixels, pixels)
    return Picture(
        pixels=pixels,
        media_type=picture.media_type,
        alpha=alpha,
        icc=picture.icc,
        metadata=metadata,
        coding=picture.coding,
        lossless=picture.lossless,
    )


def stack_rows(rows: list[Array]) -> list[Array]:
    """Stack rows into one array (N first) if their shapes are equal; else return one array of N = 1 per row."""
    if len(rows) == 1:
        return [rows[0][np.newaxis]]
    if len({row.shape for row in rows}) == 1:
        return [np.stack(rows)]
    return [row[np.newaxis] for row in rows]

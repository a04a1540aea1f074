"""Preprocesses images for a model and postprocesses its outputs, in the same way for every front end."""

from collections.abc import Sequence

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import LazyPicture, Picture
from service.config import Settings
from service.types import Array


def open_picture(data: bytes, card: Card, settings: Settings) -> LazyPicture:
    """Parse the header of an image for a model.

    The limit of pixels depends on whether the model takes any size. Raises UnsupportedImage, InvalidImage or
    ImageTooLarge.
    """
    max_pixels = settings.max_pixels_any_size if card.any_size else settings.max_pixels
    return LazyPicture(data, formats=settings.allowed_formats, max_pixels=max_pixels, max_scans=settings.max_jpeg_scans)


def preprocess(picture: Picture, card: Card, operation: Operation, settings: Settings) -> Array:
    """Return the pixels in the size and channels of the model, as uint8 H,W,C.

    For denoise the alpha is ignored here, because `postprocess` restores it. For other operations the image is
    composited on the background colour of the settings. Raises TypeError for a model of vectors.
    """
    if not isinstance(card.input, ImageInput):
        raise TypeError("a model of vectors does not take images")
    pixels = picture.pixels
    if picture.alpha is not None and operation != "denoise":
        pixels = codec.composite(pixels, picture.alpha, settings.alpha_background)
    return codec.fit_to_size(pixels, card.input.height, card.input.width, card.input.channels)


def image_media_type(pictures: Sequence[Picture | None]) -> str:
    """Return the media type for output images: that of the first input image if it can be encoded, else PNG."""
    first = pictures[0] if pictures else None
    return first.media_type if first and first.media_type in codec.ENCODABLE else "image/png"


def postprocess(output: Array, picture: Picture | None, keep_metadata: bool) -> Picture:
    """Return an output of the model (uint8 H,W,C) as an image like the input `picture`.

    The result has the alpha and the ICC profile of the input, and is grey if the input was grey. If `keep_metadata` is
    true it has the metadata too, adapted to its size. If `picture` is None, the output is not changed.
    """
    if picture is None:
        return Picture(output, "image/png")
    height, width = output.shape[:2]
    channels = 1 if picture.pixels.shape[2] == 1 else output.shape[2]
    alpha = None if picture.alpha is None else codec.fit_alpha_to_size(picture.alpha, height, width)
    metadata = picture.metadata.upright((width, height)) if keep_metadata else picture.metadata.stripped()
    pixels = codec.fit_to_size(output, None, None, channels)
    return Picture(pixels, picture.media_type, alpha, picture.icc, metadata=metadata)

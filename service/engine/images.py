"""Preprocessing and postprocessing of images, the same for every front end."""

from collections.abc import Sequence

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import LazyPicture, Picture
from service.config import Settings
from service.types import Array


def open_picture(data: bytes, card: Card, settings: Settings) -> LazyPicture:
    """A picture for this model, its header read. Raises UnsupportedImage, InvalidImage or ImageTooLarge."""
    most = settings.max_pixels_any_size if card.any_size else settings.max_pixels
    return LazyPicture(data, formats=settings.allowed_formats, max_pixels=most, max_scans=settings.max_jpeg_scans)


def preprocess(picture: Picture, card: Card, operation: Operation, settings: Settings) -> Array:
    """The pixels in the model's size and channels. Only a denoised picture keeps its alpha; others stand on colour."""
    if not isinstance(card.input, ImageInput):
        raise TypeError("a vector model takes no pictures")
    pixels = picture.pixels
    if picture.alpha is not None and operation != "denoise":
        pixels = codec.composite(pixels, picture.alpha, settings.alpha_background)
    return codec.fit_to_size(pixels, card.input.height, card.input.width, card.input.channels)


def image_media_type(pictures: Sequence[Picture | None]) -> str:
    """The type of an answered picture: the one that the first came in where we write it, else PNG."""
    first = pictures[0] if pictures else None
    return first.media_type if first and first.media_type in codec.ENCODABLE else "image/png"


def postprocess(output: Array, picture: Picture | None, keep_metadata: bool) -> Picture:
    """An output of the model as a picture like the one that came in: grey if that was grey, its alpha and profile.

    Its `metadata` only where its size is still what they say.
    """
    if picture is None:
        return Picture(output, "image/png")
    height, width = output.shape[:2]
    channels = 1 if picture.pixels.shape[2] == 1 else output.shape[2]
    alpha = None if picture.alpha is None else codec.fit_alpha_to_size(picture.alpha, height, width)
    exif = picture.exif if keep_metadata and picture.pixels.shape[:2] == (height, width) else None
    return Picture(codec.fit_to_size(output, None, None, channels), picture.media_type, alpha, picture.icc, exif=exif)

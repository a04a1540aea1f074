"""Checks ICC profiles, and converts images to sRGB with littleCMS. Published as ICC.1:2022."""

from io import BytesIO
from struct import unpack_from
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Space = Literal["RGB", "GRAY", "CMYK", "LAB"]
SPACES: dict[bytes, Space] = {b"RGB ": "RGB", b"GRAY": "GRAY", b"CMYK": "CMYK", b"Lab ": "LAB"}
MODES: dict[str, Space] = {"CMYK": "CMYK", "LAB": "LAB"}
HEADER_BYTES = 128
TAG_BYTES = 12
MAX_TAGS = 200


def profile_space(icc: bytes) -> Space | None:
    """Return the colour space that a profile describes, or None if the profile is invalid."""
    if len(icc) < HEADER_BYTES + 4 or icc[36:40] != b"acsp" or not HEADER_BYTES < unpack_from(">I", icc)[0] <= len(icc):
        return None
    count = unpack_from(">I", icc, HEADER_BYTES)[0]
    if not 0 < count <= MAX_TAGS or HEADER_BYTES + 4 + TAG_BYTES * count > len(icc):
        return None
    for at in range(count):
        start, length = unpack_from(">II", icc, HEADER_BYTES + 8 + TAG_BYTES * at)
        if start + length > len(icc):
            return None
    try:
        ImageCms.ImageCmsProfile(BytesIO(icc))
    except (OSError, ImageCms.PyCMSError):
        return None
    return SPACES.get(icc[16:20])


def fits(icc: bytes, channels: int) -> bool:
    """Return whether a valid profile describes pixels of 1 channel (grey) or of 3 (RGB)."""
    return SPACES.get(icc[16:20]) == ("GRAY" if channels == 1 else "RGB")


def pixels_to_srgb(pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
    """Convert uint8 H,W,C of 1 or 3 channels by its profile, so that they mean the same without it.

    Grey pixels stay grey; an RGB profile is applied to them as to equal channels. Return the same array if the profile
    describes other channels, or littleCMS cannot apply it.
    """
    channels = pixels.shape[2]
    space = profile_space(icc)
    if space != "RGB" and (space != "GRAY" or channels != 1):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(icc))
        srgb = ImageCms.createProfile("sRGB")
        image = image if space == "GRAY" else image.convert("RGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (OSError, ValueError, ImageCms.PyCMSError):
        return pixels
    if converted is None:
        return pixels
    return np.asarray(converted.convert("L"))[:, :, np.newaxis] if channels == 1 else np.asarray(converted)


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert a CMYK or Lab image to RGB, perceptually.

    CMYK is converted by its profile. Without a valid one, each ink is taken to absorb its complement.
    """
    space = MODES[image.mode]
    usable = icc if icc and profile_space(icc) == space else None
    try:
        if space == "LAB":
            source = ImageCms.createProfile("LAB")
        elif usable:
            source = ImageCms.ImageCmsProfile(BytesIO(usable))
        else:
            return image.convert("RGB")
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (OSError, ValueError, ImageCms.PyCMSError):  # a profile without the tables of this direction
        converted = None
    return converted or image.convert("RGB")

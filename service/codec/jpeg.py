"""Plain JPEG by libjpeg-turbo without a reader's overhead: JFIF of grey or YCbCr, and no segment that could matter.

Whatever is not that, or makes the library so much as warn, is the reference's to judge (`picture`). Writes nothing: the
library's thin binding transforms more coarsely than Pillow below quality 96.
"""

from dataclasses import dataclass
from struct import Struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

JFIF_PREFIX = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
IGNORED_SEGMENTS = frozenset((0xDB, 0xC4, 0xDD, 0xFE))  # tables, the restart interval, comments
SOF_MARKERS = frozenset((0xC0, 0xC2))  # baseline and progressive
SOS_MARKER = 0xDA
MAX_SEGMENTS = 64  # before the first scan; to walk over them must be short
# Components with their samplings, tables left out -> the colour space to decode to.
COLOUR_SPACES = {b"\1\1\x11": "GRAY"} | {bytes((3, 1, luma, 2, 0x11, 3, 0x11)): "RGB" for luma in (0x11, 0x21, 0x22)}

SEGMENT_HEADER, SIZE = Struct(">BBH"), Struct(">HH")


@dataclass(slots=True)
class SimpleJpeg:
    """A file whose segments up to its first scan are plain: its size and colour space."""

    size: tuple[int, int]
    colour_space: str
    data: bytes

    def pixels(self) -> NDArray[np.uint8]:
        """H,W,C as the reference decodes them. Raises on data that are broken or cut off, however slightly."""
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.data, self.colour_space, strict=True)
        width, height = self.size
        if pixels.shape[:2] != (height, width):
            raise ValueError("the frame is not the one that was measured")
        return pixels


def parse(data: bytes) -> SimpleJpeg | None:
    """The frame of a plain JPEG; None where it is not plain. Decodes nothing."""
    if not data.startswith(JFIF_PREFIX):
        return None
    at, frame = 20, b""
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data):
            return None
        lead, kind, length = SEGMENT_HEADER.unpack_from(data, at)
        if lead != 0xFF or length < 2:
            return None
        if kind == SOS_MARKER:
            return _from_frame(frame, data)
        if kind in SOF_MARKERS and not frame:
            frame = data[at + 4 : at + 2 + length]
        elif kind not in IGNORED_SEGMENTS:
            return None
        at += 2 + length
    return None


def _from_frame(frame: bytes, data: bytes) -> SimpleJpeg | None:
    components = frame[5:6] + b"".join(frame[at : at + 2] for at in range(6, len(frame), 3))
    space = COLOUR_SPACES.get(components)
    if space is None or frame[0] != 8 or len(frame) != 6 + 3 * frame[5]:
        return None
    height, width = SIZE.unpack_from(frame, 1)
    return SimpleJpeg((width, height), space, data) if width and height else None

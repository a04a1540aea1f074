"""Plain JPEG by libjpeg-turbo without a reader's overhead: JFIF of grey or YCbCr, and no segment that could matter.

Whatever is not that, or makes the library so much as warn, is the reference's to judge (`picture`). Writes nothing: the
library's thin binding transforms more coarsely than Pillow below quality 96.
"""

from dataclasses import dataclass
from struct import Struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

START = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
IDLE = frozenset((0xDB, 0xC4, 0xDD, 0xFE))  # tables, the restart interval, comments
FRAMES = frozenset((0xC0, 0xC2))  # baseline and progressive
SCAN = 0xDA
SEGMENTS = 64  # before the first scan; to walk over them must be short
# Components with their samplings, tables left out -> the colour space to decode to.
SPACES = {b"\1\1\x11": "GRAY"} | {bytes((3, 1, luma, 2, 0x11, 3, 0x11)): "RGB" for luma in (0x11, 0x21, 0x22)}

SEGMENT, SIDES = Struct(">BBH"), Struct(">HH")


@dataclass(slots=True)
class PlainJpeg:
    """A file whose segments up to its first scan are plain: its size and colour space."""

    size: tuple[int, int]
    space: str
    data: bytes

    def pixels(self) -> NDArray[np.uint8]:
        """H,W,C as the reference decodes them. Raises on data that are broken or cut off, however slightly."""
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.data, self.space, strict=True)
        width, height = self.size
        if pixels.shape[:2] != (height, width):
            raise ValueError("the frame is not the one that was measured")
        return pixels


def scan(data: bytes) -> PlainJpeg | None:
    """The frame of a plain JPEG; None where it is not plain. Decodes nothing."""
    if not data.startswith(START):
        return None
    at, frame = 20, b""
    for _ in range(SEGMENTS):
        if at + 4 > len(data):
            return None
        lead, kind, length = SEGMENT.unpack_from(data, at)
        if lead != 0xFF or length < 2:
            return None
        if kind == SCAN:
            return _plain(frame, data)
        if kind in FRAMES and not frame:
            frame = data[at + 4 : at + 2 + length]
        elif kind not in IDLE:
            return None
        at += 2 + length
    return None


def _plain(frame: bytes, data: bytes) -> PlainJpeg | None:
    components = frame[5:6] + b"".join(frame[at : at + 2] for at in range(6, len(frame), 3))
    space = SPACES.get(components)
    if space is None or frame[0] != 8 or len(frame) != 6 + 3 * frame[5]:
        return None
    height, width = SIDES.unpack_from(frame, 1)
    return PlainJpeg((width, height), space, data) if width and height else None

"""Fast path for simple JPEG files: grey or YCbCr JFIF, without segments that affect the result.

libjpeg-turbo decodes these files. `picture` decodes all other files with Pillow, and also those for which libjpeg-turbo
gives a warning. This module writes no JPEG files, because below quality 96 simplejpeg uses a less accurate transform
than Pillow.
"""

from dataclasses import dataclass
from struct import Struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from service.codec import jpeg_segments
from service.codec.density import Density
from service.codec.jpeg_coding import JpegCoding
from service.codec.jpeg_markers import COM, DQT, EOI, SOS
from service.codec.metadata import Metadata

JFIF_PREFIX = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
IGNORED_SEGMENTS = frozenset((DQT, 0xC4, 0xDD, COM))  # these, Huffman tables, restart interval
END = bytes((0xFF, EOI))
PROGRESSIVE_MARKER = 0xC2
SIMPLE_SOF_MARKERS = frozenset((0xC0, PROGRESSIVE_MARKER))
MAX_SEGMENTS = 64  # segments before the first scan; bounds the time of `parse`
# Component ids and sampling factors, without the table numbers, and the colour space to decode to.
COLOUR_SPACES = {b"\1\1\x11": "GRAY"} | {bytes((3, 1, luma, 2, 0x11, 3, 0x11)): "RGB" for luma in (0x11, 0x21, 0x22)}

SEGMENT_HEADER = Struct(">BBH")
SIZE = Struct(">HH")


@dataclass(slots=True)
class SimpleJpeg:
    """A JPEG file that the fast path supports. `size` is width and height in pixels."""

    size: tuple[int, int]
    colour_space: str
    data: bytes
    coding: JpegCoding
    has_comment: bool

    def metadata(self) -> Metadata:
        """Return the metadata of the file."""
        if self.has_comment or not self.data.endswith(END):
            return jpeg_segments.split(self.data).metadata
        return Metadata(density=Density.from_jfif(self.data[13:18]))

    def pixels(self) -> NDArray[np.uint8]:
        """Decode to uint8 H,W,C with the same values as Pillow.

        Raises ValueError if the data are corrupt or truncated, or if libjpeg-turbo gives a warning.
        """
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.data, self.colour_space, strict=True)
        width, height = self.size
        if pixels.shape[:2] != (height, width):
            raise ValueError("the decoded size differs from the size in the header")
        return pixels


def parse(data: bytes) -> SimpleJpeg | None:
    """Parse the segments before the first scan, without decoding the image.

    Return None if the fast path does not support the file.
    """
    if not data.startswith(JFIF_PREFIX):
        return None
    offset = 20
    frame = b""
    progressive = False
    has_comment = False
    tables = b""
    for _ in range(MAX_SEGMENTS):
        if offset + 4 > len(data):
            return None
        prefix, marker, length = SEGMENT_HEADER.unpack_from(data, offset)
        if prefix != 0xFF or length < 2:
            return None
        if marker == SOS:
            return _from_frame(JpegCoding(progressive, frame, tables), data, has_comment)
        if marker == DQT:
            tables += data[offset + 4 : offset + 2 + length]
        elif marker in SIMPLE_SOF_MARKERS and not frame:
            frame = data[offset + 4 : offset + 2 + length]
            progressive = marker == PROGRESSIVE_MARKER
        elif marker not in IGNORED_SEGMENTS:
            return None
        has_comment = has_comment or marker == COM
        offset += 2 + length
    return None


def _from_frame(coding: JpegCoding, data: bytes, has_comment: bool) -> SimpleJpeg | None:
    """Build the result, or return None if the frame header (SOF) is not supported."""
    frame = coding.frame
    components = frame[5:6] + b"".join(frame[offset : offset + 2] for offset in range(6, len(frame), 3))
    colour_space = COLOUR_SPACES.get(components)
    if colour_space is None or frame[0] != 8 or len(frame) != 6 + 3 * frame[5]:
        return None
    height, width = SIZE.unpack_from(frame, 1)
    if not width * height:
        return None
    return SimpleJpeg((width, height), colour_space, data, coding, has_comment)


def decodes_without_warning(data: bytes, mode: str) -> bool:
    """Return whether libjpeg-turbo decodes a JPEG file without a warning. `mode` is Pillow's mode of the image."""
    colour_space = {"L": "GRAY", "CMYK": "CMYK"}.get(mode, "RGB")
    try:
        simplejpeg.decode_jpeg(data, colour_space, strict=True)
    except ValueError:
        return False
    return True

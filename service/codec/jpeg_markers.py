"""Walks the segments of a JPEG file as libjpeg does, for all that reads them. Published as ITU-T T.81, annex B.

Segments are followed by their length, entropy-coded data up to the next marker, and nothing behind the end of the
image.
"""

import re
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from service.errors import InvalidImage

SOI = b"\xff\xd8"
EOI = 0xD9
SOS = 0xDA
DQT = 0xDB
COM = 0xFE
APP0, APP1, APP2, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
LOSSLESS_MARKERS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
PROGRESSIVE_MARKERS = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
NO_SEGMENT = frozenset((0x00, 0x01, *range(0xD0, 0xDA), 0xFF))  # standalone markers, the end, and what is no marker
MAX_SEGMENTS = 50_000  # bounds the time

# A marker of a segment, or the end. The last of several 0xFF counts, which may fill the space between segments.
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
ENTROPY_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # a marker that ends a scan: neither stuffing, fill nor restart
HEADER = Struct(">BBH")
LENGTH = Struct(">H")


class Segment(NamedTuple):
    """A marker, and where its segment starts (with the 0xFF) and stops. A truncated one stops behind the data.

    The segment of a scan is its header, without the entropy-coded data.
    """

    marker: int
    start: int
    stop: int

    def body(self, data: bytes) -> bytes:
        """Return the content behind the length."""
        return data[self.start + 4 : self.stop]


def walk(data: bytes) -> Iterator[Segment]:
    """Yield the segments of a JPEG file up to the end of the image or of the data.

    Raises InvalidImage for more than MAX_SEGMENTS.
    """
    offset = len(SOI)
    size = len(data)
    for _ in range(MAX_SEGMENTS):
        start = offset
        prefix, marker, length = HEADER.unpack_from(data, start) if start + 4 <= size else (0, 0, 0)
        if prefix != 0xFF or marker in NO_SEGMENT:
            match = MARKER.search(data, start)
            if match is None:
                return
            start = match.start()
            marker = data[start + 1]
            if marker == EOI:
                yield Segment(marker, start, start + 2)
                return
            length = LENGTH.unpack_from(data, start + 2)[0] if start + 4 <= size else 2
        offset = start + 2 + max(length, 2)
        yield Segment(marker, start, offset)
        if marker == SOS:
            end = ENTROPY_END.search(data, offset)
            offset = end.start() if end else size
    raise InvalidImage(f"the JPEG has more than {MAX_SEGMENTS} segments")

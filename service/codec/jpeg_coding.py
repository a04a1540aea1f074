"""How a JPEG file was coded: chroma sampling, quantisation tables, progressive or not.

A response to a JPEG is coded in the same way, so that it is not worse than the file sent. The quantisation tables of
libjpeg for a quality are those of ITU-T T.81, annex K, scaled by the formula of the Independent JPEG Group.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from service.codec.jpeg_markers import DQT, LOSSLESS_MARKERS, PROGRESSIVE_MARKERS, SOF_MARKERS, SOS, walk

TABLE_SIZE = 64
MAX_STEP = 255  # of a baseline JPEG

# Position in the matrix (row * 8 + column) of each coefficient of a file, which are stored in zigzag order.
ZIGZAG = sorted(
    range(TABLE_SIZE),
    key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8),
)
# Tables K.1 (luminance) and K.2 (chrominance) of T.81, row by row.
STANDARD_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
STANDARD_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)

Table = tuple[int, ...]


class JpegCoding(NamedTuple):
    """The headers of a JPEG file that state how it was coded.

    `frame` is the content of the frame header (SOF). `tables` are the contents of the segments of quantisation tables
    (DQT), joined. `turned` says that width and height were exchanged after decoding.
    """

    progressive: bool
    frame: bytes
    tables: bytes
    turned: bool = False
    lossless: bool = False


def read_coding(data: bytes) -> JpegCoding | None:
    """Read the headers before the first scan. Return None if there is no scan or no frame."""
    frame: tuple[int, bytes] | None = None
    tables: list[bytes] = []
    for segment in walk(data):
        if segment.marker == SOS:
            if frame is None:
                return None
            lossless = frame[0] in LOSSLESS_MARKERS
            return JpegCoding(frame[0] in PROGRESSIVE_MARKERS, frame[1], b"".join(tables), lossless=lossless)
        if segment.marker in SOF_MARKERS:
            frame = (segment.marker, segment.body(data))
        elif segment.marker == DQT:
            tables.append(segment.body(data))
    return None


def describe_unsupported(data: bytes) -> str | None:
    """Return which kind of JPEG file this is, if it is one that Pillow cannot decode, or None."""
    coding = read_coding(data)
    if coding is None or len(coding.frame) < 6:
        return None
    if coding.lossless:
        return "a lossless JPEG"
    if coding.frame[0] != 8:
        return f"a JPEG of {coding.frame[0]} bits per sample"
    has_height, has_width = any(coding.frame[1:3]), any(coding.frame[3:5])
    return "a JPEG that states its height only at its end" if has_width and not has_height else None


@lru_cache(maxsize=256)
def save_options(coding: JpegCoding, channels: int) -> dict[str, Any]:
    """Return options of Pillow's `save` that code an image of 1 or 3 channels in the same way.

    The steps of the quantisation are those of the file. Pillow writes the chroma samplings 4:4:4, 4:2:2 and 4:2:0;
    for another one, the next finer of these is used. Without valid quantisation tables, the quality is left out.
    """
    components = [coding.frame[at : at + 3] for at in range(6, len(coding.frame) - 2, 3)]
    options: dict[str, Any] = {"progressive": True} if coding.progressive else {}
    if channels == 3 and len(components) >= 3:
        options["subsampling"] = _subsampling(components, coding.turned)
    tables = _read_tables(coding.tables)
    used = [tables[component[2]] for component in components[:channels] if component[2] in tables]
    if not used or len(used) < min(channels, len(components)):
        return options
    if len(used) == 3 and used[1] == used[2]:
        used.pop()
    quality = None if coding.progressive else standard_quality(used)  # Pillow is faster with a quality than with tables
    return {**options, "quality": quality} if quality else {**options, "qtables": [list(table) for table in used]}


def with_quality(options: dict[str, Any], quality: int) -> dict[str, Any]:
    """Return the options of Pillow's `save` with another quality (1 to 100).

    A progressive file gets quantisation tables instead, because then Pillow reserves enough memory for it.
    """
    kept = {name: value for name, value in options.items() if name not in ("quality", "qtables")}
    if not kept.get("progressive"):
        return {**kept, "quality": quality}
    return {**kept, "qtables": [list(scale(table, quality)) for table in (STANDARD_LUMA, STANDARD_CHROMA)]}


def _subsampling(components: Sequence[bytes], turned: bool) -> int:
    """Return Pillow's number of the chroma sampling: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0."""
    factors = [(component[1] >> 4, component[1] & 15) for component in components[:3]]
    horizontal = factors[0][0] > max(factors[1][0], factors[2][0])
    vertical = factors[0][1] > max(factors[1][1], factors[2][1])
    if turned:
        horizontal, vertical = vertical, horizontal
    return (2 if vertical else 1) if horizontal else 0


def _read_tables(data: bytes) -> dict[int, Table]:
    """Return the quantisation tables by number, row by row, with steps 1 to 255."""
    tables: dict[int, Table] = {}
    offset = 0
    while offset < len(data):
        sample_bytes = 1 + (data[offset] >> 4 > 0)
        steps = data[offset + 1 : offset + 1 + TABLE_SIZE * sample_bytes]
        if len(steps) < TABLE_SIZE * sample_bytes:
            break
        matrix = [0] * TABLE_SIZE
        for at, place in enumerate(ZIGZAG):
            step = int.from_bytes(steps[at * sample_bytes : (at + 1) * sample_bytes])
            matrix[place] = min(max(step, 1), MAX_STEP)
        tables[data[offset] & 15] = tuple(matrix)
        offset += 1 + TABLE_SIZE * sample_bytes
    return tables


def standard_quality(tables: Sequence[Table]) -> int | None:
    """Return the quality (1 to 100) for which libjpeg uses these tables: luma and, for colour, chroma.

    Return None if there is no such quality.
    """
    for quality in range(100, 0, -1):
        scaled = (scale(STANDARD_LUMA, quality), scale(STANDARD_CHROMA, quality))
        if tuple(tables) == scaled[: len(tables)]:
            return quality
    return None


def scale(table: Table, quality: int) -> Table:
    """Return a standard table at a quality of 1 to 100, by the formula of the Independent JPEG Group."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((step * percent + 50) // 100, 1), MAX_STEP) for step in table)

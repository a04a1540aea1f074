"""Reads TIFF files whose colour samples Pillow has no mode for: floats, and integers of 32 bits.

Rows of W pixels with 3 samples are stored as rows of 3 W grey samples are, so the tags are changed to say that.
"""

from dataclasses import dataclass
from struct import error, pack_into, unpack_from
from typing import Any

from PIL import Image

from service.codec.signatures import RAW_HINT
from service.errors import UnsupportedImage

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
SHORT, LONG = 3, 4
ASCII = 2
WIDTH, BITS, PHOTOMETRIC, ORIENTATION, CHANNELS, PLANES, PREDICTOR = 256, 258, 262, 274, 277, 284, 317
TILE_WIDTH, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 338, 339
TARGET_PRINTER = 337  # a tag without effect, which stands where ExtraSamples stood
RGB, BLACK_IS_ZERO = 2, 1
UNSIGNED, FLOAT = 1, 3
WIDE_BITS = 32
MAX_ENTRIES = 500
DNG_VERSION, SUB_DIRECTORIES, NEW_SUBFILE_TYPE = 50706, 330, 254
REDUCED_IMAGE = 1  # bit of the tag NewSubfileType: a preview of another image in the file
SEPARATE_PLANES = 2


@dataclass(frozen=True, slots=True)
class GreyTiff:
    """A TIFF file of grey samples, `channels` for each pixel of the colour file."""

    data: bytes
    channels: int


def as_grey(data: bytes) -> GreyTiff | None:
    """Return the file with other tags, or None if it has no such samples.

    None also if they are stored in planes, turned or with a predictor.
    """
    order = ORDERS.get(data[:4])
    try:
        tags = _read_tags(data, order) if order else {}
    except error:
        return None
    channels, bits, kind = (tags.get(tag, _Tag(0, 0, 1)).value for tag in (CHANNELS, BITS, SAMPLE_FORMAT))
    plain = all(tag not in tags or tags[tag].value == 1 for tag in (ORIENTATION, PLANES, PREDICTOR))
    is_wide = kind in (UNSIGNED, FLOAT) and bits == WIDE_BITS
    is_colour = PHOTOMETRIC in tags and tags[PHOTOMETRIC].value == RGB and channels in (3, 4)
    if not (order and plain and is_wide and is_colour and WIDTH in tags):
        return None
    changed = bytearray(data)
    values = {BITS: bits, PHOTOMETRIC: BLACK_IS_ZERO, CHANNELS: 1, SAMPLE_FORMAT: kind}
    for tag, value in values.items():
        if tag in tags:
            pack_into(order + "HIHH", changed, tags[tag].offset + 2, SHORT, 1, value, 0)
    for tag in (WIDTH, TILE_WIDTH):
        if tag in tags:
            pack_into(order + "HII", changed, tags[tag].offset + 2, LONG, 1, tags[tag].value * channels & 0xFFFFFFFF)
    if EXTRA_SAMPLES in tags:
        pack_into(order + "HHI", changed, tags[EXTRA_SAMPLES].offset, TARGET_PRINTER, ASCII, 1)
    return GreyTiff(bytes(changed), channels)


def reject_unreadable(image: Image.Image) -> None:
    """Raise UnsupportedImage for a TIFF of which Pillow would return other pixels than a viewer shows.

    In a camera raw file the first image is only a preview. Pillow reads planes of 16 bits as if they had 8.
    """
    tags: Any = getattr(image, "tag_v2", {})
    tiles: Any = getattr(image, "tile", ())
    is_preview = tags.get(NEW_SUBFILE_TYPE) == REDUCED_IMAGE and SUB_DIRECTORIES in tags
    if DNG_VERSION in tags or is_preview:
        raise UnsupportedImage(f"the data are {RAW_HINT}")
    is_raw = bool(tiles) and tiles[0][0] == "raw"
    if is_raw and tags.get(PLANES) == SEPARATE_PLANES and max(tags.get(BITS, (8,))) > 8:
        raise UnsupportedImage(
            "the TIFF has samples of more than 8 bits in separate planes (PlanarConfiguration 2) without compression; "
            "save it with interleaved samples, as `tiffcp -p contig` does"
        )


@dataclass(frozen=True, slots=True)
class _Tag:
    """The offset of an entry of a directory, the number of its values, and the first of them."""

    offset: int
    count: int
    value: int


def _read_tags(data: bytes, order: str) -> dict[int, _Tag]:
    """Read the entries of types SHORT and LONG in the first directory. Raises struct.error if it is truncated."""
    start = unpack_from(order + "I", data, 4)[0]
    tags: dict[int, _Tag] = {}
    for at in range(min(unpack_from(order + "H", data, start)[0], MAX_ENTRIES)):
        offset = start + 2 + 12 * at
        tag, kind, count, place = unpack_from(order + "HHII", data, offset)
        if kind in (SHORT, LONG):
            is_inline = count * (2 if kind == SHORT else 4) <= 4
            value = unpack_from(order + ("H" if kind == SHORT else "I"), data, offset + 8 if is_inline else place)[0]
            tags[tag] = _Tag(offset, count, value)
    return tags

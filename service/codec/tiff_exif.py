"""Takes the EXIF of a TIFF file, whose directories are those of the file itself, as a block of its own."""

from struct import Struct

from service.codec import exif

RESOLUTION_TAGS = frozenset((exif.X_RESOLUTION, exif.Y_RESOLUTION, exif.RESOLUTION_UNIT))
# Tags of the first directory that describe the picture: from ImageDescription to Copyright, and those of Windows. The
# others describe how the file stores it. The orientation is not among them, because Pillow applies it.
DESCRIPTIVE_TAGS = RESOLUTION_TAGS.union(
    (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298), range(0x9C9B, 0x9CA0)
)
EXIF_TAGS = (DESCRIPTIVE_TAGS - RESOLUTION_TAGS) | {exif.EXIF_IFD, exif.GPS_IFD}
"""Tags of the first directory that only a file with EXIF has."""

INLINE_BYTES = 4  # of a value that stands in its entry


def extract(data: bytes, max_bytes: int) -> bytes:
    """Return an EXIF block with the descriptive tags of a TIFF file.

    Raises ValueError if the file has invalid directories, or values of more than `max_bytes`.
    """
    block = exif.parse(data)
    if block is None:
        raise ValueError("invalid directories")
    block.entries = [one for one in block.entries if one.directory != "first" or one.tag in DESCRIPTIVE_TAGS]
    if sum(entry.stop - entry.start for entry in block.entries) > max_bytes:
        raise ValueError("too large")
    return data[:4] + Struct(block.order + "I").pack(8) + _directory(block, "first", 8)


def _directory(block: exif.Block, name: str, offset: int) -> bytes:
    """Return a directory that stands at `offset`, with its values and the directories that it points to."""
    pointers = exif.CHILDREN.get(name, {})
    entries = [entry for entry in block.entries if entry.directory == name and entry.tag not in pointers]
    children = {tag: child for tag, child in pointers.items() if any(one.directory == child for one in block.entries)}
    row = Struct(block.order + "HHII")
    rows: list[tuple[int, bytes]] = []
    values = bytearray()
    values_at = offset + 2 + row.size * (len(entries) + len(children)) + 4
    for entry in entries:
        value = block.data[entry.start : entry.stop]
        packed = row.pack(entry.tag, entry.kind, entry.count, values_at + len(values))
        if len(value) <= INLINE_BYTES:
            packed = packed[:-INLINE_BYTES] + block.data[entry.offset + 8 : entry.offset + 12]
        else:
            values += value + b"\0" * (len(value) % 2)
        rows.append((entry.tag, packed))
    for tag, child in children.items():
        at = values_at + len(values)
        rows.append((tag, row.pack(tag, exif.LONG, 1, at)))
        values += _directory(block, child, at)
    count = Struct(block.order + "H").pack(len(rows))
    return b"".join((count, *(packed for _, packed in sorted(rows)), bytes(4), values))

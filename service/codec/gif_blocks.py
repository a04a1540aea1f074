"""Finds the XMP packet of a GIF file. Published as the GIF89a specification and Adobe's XMP specification part 3."""

HEADER_BYTES = 13
EXTENSION, IMAGE = 0x21, 0x2C
APPLICATION = 0xFF
IMAGE_HEADER_BYTES = 10
XMP_APPLICATION = b"\x0bXMP DataXMP"
TRAILER_BYTES = 257  # behind a packet: numbers that lead a reader of blocks to the end, whatever the packet holds
MAX_BLOCKS = 1_000_000  # bounds the time


def find_xmp(data: bytes) -> bytes:
    """Return the packet, or no bytes if there is none. The structure of the file is followed up to its end."""
    offset = HEADER_BYTES + _colour_table_bytes(data, 10)
    for _ in range(MAX_BLOCKS):
        kind = data[offset : offset + 1]
        if kind == bytes((EXTENSION,)):
            start = offset + 2
        elif kind == bytes((IMAGE,)):
            start = offset + IMAGE_HEADER_BYTES + _colour_table_bytes(data, offset + 9) + 1
        else:
            return b""
        offset = _skip_blocks(data, start)
        if data[start - 1] == APPLICATION and data.startswith(XMP_APPLICATION, start) and kind[0] == EXTENSION:
            return data[start + len(XMP_APPLICATION) : max(offset - TRAILER_BYTES - 1, 0)]
    return b""


def _colour_table_bytes(data: bytes, at: int) -> int:
    """Return the size of the colour table that the flags at this offset state."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, offset: int) -> int:
    """Return the offset behind a sequence of blocks, each of which states its length, and its end."""
    while offset < len(data) and data[offset]:
        offset += 1 + data[offset]
    return offset + 1

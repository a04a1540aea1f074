"""Reads and writes blocks of Photoshop image resources, as the APP13 segment of JPEG files holds them.

Published by Adobe in "Photoshop File Formats Specification", section "Image Resource Blocks".
"""

from collections.abc import Iterator
from struct import Struct

JPEG_PREFIX = b"Photoshop 3.0\0"
SIGNATURES = (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR")
THUMBNAIL_IDS = (0x0409, 0x040C)
IPTC_ID = 0x0404
UINT16 = Struct(">H")
UINT32 = Struct(">I")


def _resources(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the id, start and stop of each resource. Raises ValueError if the block is invalid."""
    offset = 0
    while block[offset : offset + 4].strip(b"\0"):  # zeros behind the last resource are padding
        name_length = block[offset + 6] if offset + 6 < len(block) else 0
        head = offset + 6 + (name_length + 2) // 2 * 2 + 4  # a Pascal string, padded to an even length, then a size
        if block[offset : offset + 4] not in SIGNATURES or head > len(block):
            raise ValueError("not a Photoshop resource")
        size = UINT32.unpack_from(block, head - 4)[0]
        if head + size > len(block):
            raise ValueError("a truncated Photoshop resource")
        stop = head + size + size % 2
        yield UINT16.unpack_from(block, offset + 4)[0], offset, stop
        offset = stop


def is_valid(block: bytes) -> bool:
    """Return whether the block consists of complete resources."""
    try:
        return bool(list(_resources(block)))
    except ValueError:
        return False


def without_thumbnails(block: bytes) -> bytes:
    """Remove the thumbnails from a valid block. All other bytes stay as they are."""
    resources = list(_resources(block))
    if all(resource_id not in THUMBNAIL_IDS for resource_id, _, _ in resources):
        return block
    return b"".join(block[start:stop] for resource_id, start, stop in resources if resource_id not in THUMBNAIL_IDS)


def from_iptc(data: bytes) -> bytes:
    """Return a block with one resource: IPTC data, as TIFF files hold them."""
    return b"".join((b"8BIM", UINT16.pack(IPTC_ID), b"\0\0", UINT32.pack(len(data)), data, b"\0" * (len(data) % 2)))

"""Adapts an EXIF block to the upright image that it is written with. Pillow reads and writes the blocks."""

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

# Tags; EXIF_IFD points to the inner directory.
ORIENTATION = 0x0112
TURNED_ORIENTATIONS = (5, 6, 7, 8)  # width and height are exchanged
MAKER_NOTE = 0x927C
EXIF_IFD = 0x8769
# Tags of width and height, in the outer and in the inner directory.
IFD0_SIZE = (0x0100, 0x0101)
EXIF_SIZE = (0xA002, 0xA003)
MAX_SEGMENT_BYTES = (1 << 16) - 32  # capacity of one JPEG segment


class ExifBlock(Protocol):
    """A parsed EXIF block, such as `PIL.Image.Exif`."""

    def get_ifd(self, tag: int) -> MutableMapping[int, Any]: ...
    def pop(self, key: int, default: None, /) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __setitem__(self, key: int, value: Any, /) -> None: ...
    def tobytes(self) -> bytes: ...


def without_orientation(read: Callable[[], ExifBlock], size: tuple[int, int]) -> bytes | None:
    """Return the EXIF block for an upright image of `size` (width and height in pixels).

    The orientation, the thumbnail and the maker note are left out. A maker note may contain another thumbnail, and
    moving it breaks its offsets. Return None if the block is invalid or does not fit into one JPEG segment.
    """
    try:
        block = read()
        inner = block.get_ifd(EXIF_IFD)
        block.pop(ORIENTATION, None)
        inner.pop(MAKER_NOTE, None)
        for outer_tag, inner_tag, length in zip(IFD0_SIZE, EXIF_SIZE, size, strict=True):
            if outer_tag in block:
                block[outer_tag] = length
            if inner_tag in inner:
                inner[inner_tag] = length
        data = block.tobytes()
    except Exception:  # Pillow may raise any exception on hostile bytes; the pixels can still be used
        return None
    return data if 0 < len(data) <= MAX_SEGMENT_BYTES else None

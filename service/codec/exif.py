"""A camera's notes, made to fit the upright picture that they come back with. Knows tags; what reads and writes them is
the reference's (`picture`).
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

ORIENTATION, MAKER_NOTE, EXIF_IFD = 0x0112, 0x927C, 0x8769  # tags; the last leads to the inner ones
IFD0_SIZE, EXIF_SIZE = (0x0100, 0x0101), (0xA002, 0xA003)  # width and height
MAX_SEGMENT_BYTES = (1 << 16) - 32  # what one segment of a JPEG holds


class ExifBlock(Protocol):
    """An EXIF block that was read."""

    def get_ifd(self, tag: int) -> MutableMapping[int, Any]: ...
    def pop(self, key: int, default: None, /) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __setitem__(self, key: int, value: Any, /) -> None: ...
    def tobytes(self) -> bytes: ...


def without_orientation(read: Callable[[], ExifBlock], size: tuple[int, int]) -> bytes | None:
    """The block of an upright picture of that width and height; None where it is not sane.

    Left out are orientation, the small copy of what was shown, and the maker's own notes, which may hold another copy
    and are broken when anything moves.
    """
    try:
        notes = read()
        inner = notes.get_ifd(EXIF_IFD)
        notes.pop(ORIENTATION, None)
        inner.pop(MAKER_NOTE, None)
        for outside, inside, side in zip(IFD0_SIZE, EXIF_SIZE, size, strict=True):
            if outside in notes:
                notes[outside] = side
            if inside in inner:
                inner[inside] = side
        block = notes.tobytes()
    except Exception:  # a reader may raise anything on hostile bytes, and a broken block is no reason to refuse pixels
        return None
    return block if 0 < len(block) <= MAX_SEGMENT_BYTES else None

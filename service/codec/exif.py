"""Reads EXIF blocks and adapts them in place to the upright image that they are written with.

No value is decoded and written again, so text in any encoding and maker notes stay byte for byte, at their offsets.
Published as "Exchangeable image file format for digital still cameras", CIPA DC-008; the container is that of TIFF 6.0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from struct import Struct, unpack_from

from service.codec.density import Density, Unit

PREFIX = b"Exif\0\0"
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}

ORIENTATION = 0x0112
X_RESOLUTION = 0x011A
Y_RESOLUTION = 0x011B
RESOLUTION_UNIT = 0x0128
# Pointers to further directories. That of Interoperability stands in the Exif directory, the others in the first.
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
INTEROP_IFD = 0xA005
CHILDREN = {"first": {EXIF_IFD: "exif", GPS_IFD: "gps"}, "exif": {INTEROP_IFD: "interop"}}
WIDTHS = {"first": 0x0100, "exif": 0xA002, "interop": 0x1001}
HEIGHTS = {"first": 0x0101, "exif": 0xA003, "interop": 0x1002}
# Offset and length of a thumbnail in the second directory: as JPEG, and as strips.
THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))

MAX_ENTRIES = 500  # of one directory; cameras write fewer than 100

SHORT = 3
LONG = 4
RATIONAL = 5
TYPE_BYTES = {1: 1, 2: 1, SHORT: 2, LONG: 4, RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
UNITS: dict[int, Unit] = {1: "none", 2: "inch", 3: "centimetre"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory. `offset` is that of the entry, `start` and `stop` those of its value."""

    directory: str
    tag: int
    kind: int
    count: int
    offset: int
    start: int
    stop: int


@dataclass(slots=True)
class Block:
    """A parsed EXIF block.

    `spans` are the parts in use. `next_pointer` is the offset of the pointer to the thumbnail.
    """

    data: bytes
    order: str
    entries: list[Entry] = field(default_factory=list[Entry])
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    next_pointer: int = 0

    def number(self, entry: Entry) -> int:
        """Return the first number of an entry of type SHORT or LONG, else 0."""
        if entry.kind not in (SHORT, LONG) or not entry.count:
            return 0
        return unpack_from(self.order + ("H" if entry.kind == SHORT else "I"), self.data, entry.start)[0]

    def rational(self, entry: Entry) -> Fraction:
        """Return the first number of an entry of type RATIONAL, else 0."""
        if entry.kind != RATIONAL or not entry.count:
            return Fraction(0)
        numerator, denominator = unpack_from(self.order + "II", self.data, entry.start)
        return Fraction(numerator, denominator) if denominator else Fraction(0)

    def find(self, tag: int) -> Entry | None:
        """Return the last entry of the first directory with this tag, as readers do that keep one value per tag."""
        return next((one for one in reversed(self.entries) if one.directory == "first" and one.tag == tag), None)


def orientation(data: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if there is none. What else the block holds may be broken."""
    order = BYTE_ORDERS.get(data[:4])
    result = 1
    if order is None or len(data) < 10:
        return result
    offset = unpack_from(order + "I", data, 4)[0]
    if offset + 2 > len(data):
        return result
    entry_struct = Struct(order + "HHIHH")
    for at in range(unpack_from(order + "H", data, offset)[0]):
        if offset + 14 + 12 * at > len(data):
            break
        tag, kind, count, value, _ = entry_struct.unpack_from(data, offset + 2 + 12 * at)
        if tag == ORIENTATION and kind == SHORT and count == 1 and 1 <= value <= 8:
            result = value
    return result


def is_valid(data: bytes) -> bool:
    """Return whether all directories and values lie within the block, and no directory stands in it twice."""
    return parse(data) is not None


def parse(data: bytes) -> Block | None:
    """Parse all directories but that of the thumbnail. Return None if the block is invalid."""
    order = BYTE_ORDERS.get(data[:4])
    if order is None or len(data) < 14:
        return None
    block = Block(data, order, spans=[(0, 8)])
    try:
        pending = [("first", unpack_from(order + "I", data, 4)[0])]
        seen: set[int] = set()
        while pending:
            name, offset = pending.pop()
            if offset < 8 or offset in seen:
                return None
            seen.add(offset)
            stop = offset + 2
            for entry in _entries(block, name, offset):
                if entry.stop > len(data):
                    return None
                block.entries.append(entry)
                block.spans.append((entry.start, entry.stop))
                stop = entry.offset + 12
                child = CHILDREN.get(name, {}).get(entry.tag)
                if child and block.number(entry):
                    pending.append((child, block.number(entry)))
            if name == "first":
                block.next_pointer = stop if stop + 4 <= len(data) else 0
            block.spans.append((offset, stop + 4))
    except ValueError:
        return None
    return block if block.entries else None


def _entries(block: Block, directory: str, offset: int) -> Iterator[Entry]:
    """Yield the entries of a directory. Raises ValueError if they are not within the block."""
    data, order = block.data, block.order
    entry_struct = Struct(order + "HHII")
    if offset + 2 > len(data):
        raise ValueError("a directory outside the block")
    count = unpack_from(order + "H", data, offset)[0]
    if count > MAX_ENTRIES or offset + 2 + 12 * count > len(data):
        raise ValueError("a truncated directory, or one of too many entries")
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, length, start = entry_struct.unpack_from(data, at)
        size = TYPE_BYTES.get(kind, 0) * length
        if size <= 4:
            start = at + 8
        yield Entry(directory, tag, kind, length, at, start, start + size)


def upright(data: bytes, size: tuple[int, int], transposed: bool) -> bytes:
    """Set the orientation to 1 and the dimensions to `size` (width and height), and remove the thumbnail.

    `transposed` says that width and height were swapped, so that their resolutions are swapped too. The block must be
    valid.
    """
    block = parse(data)
    if block is None:
        return data
    out = bytearray(data)
    for entry in block.entries:
        if entry.directory == "first" and entry.tag == ORIENTATION:
            _set_number(out, block, entry, 1)
        elif entry.tag == WIDTHS.get(entry.directory):
            _set_number(out, block, entry, size[0])
        elif entry.tag == HEIGHTS.get(entry.directory):
            _set_number(out, block, entry, size[1])
    x, y = block.find(X_RESOLUTION), block.find(Y_RESOLUTION)
    if transposed and x and y and x.kind == y.kind == RATIONAL and x.count == y.count == 1:
        out[x.start : x.stop] = data[y.start : y.stop]
        out[y.start : y.stop] = data[x.start : x.stop]
    return _without_thumbnail(out, block)


def _set_number(out: bytearray, block: Block, entry: Entry, value: int) -> None:
    kind = SHORT if value < 1 << 16 and entry.kind == SHORT else LONG
    field_format = block.order + ("HIHH" if kind == SHORT else "HII")
    values = (kind, 1, value, 0) if kind == SHORT else (kind, 1, value)
    Struct(field_format).pack_into(out, entry.offset + 2, *values)


def _without_thumbnail(out: bytearray, block: Block) -> bytes:
    """Unlink the second directory, and overwrite what only it uses with zeros; cut it off at the end of the block."""
    offset = unpack_from(block.order + "I", block.data, block.next_pointer)[0] if block.next_pointer else 0
    if not offset:
        return bytes(out)
    out[block.next_pointer : block.next_pointer + 4] = bytes(4)
    try:
        entries = list(_entries(block, "thumbnail", offset))
    except ValueError:
        return bytes(out)
    numbers = {entry.tag: block.number(entry) for entry in entries if entry.stop <= len(out)}
    unused = [(offset, offset + 6 + 12 * len(entries)), *((entry.start, entry.stop) for entry in entries)]
    unused += [(numbers[at], numbers[at] + numbers.get(length, 0)) for at, length in THUMBNAILS if at in numbers]
    used = sorted(block.spans)
    for start, stop in sorted(unused, reverse=True):
        stop = min(stop, len(out))
        if start < stop and not _overlaps(used, start, stop):
            out[start:stop] = bytes(stop - start)
            if stop >= len(out) - 1:
                del out[start:]
    return bytes(out)


def _overlaps(spans: list[tuple[int, int]], start: int, stop: int) -> bool:
    return any(first < stop and start < last for first, last in spans)


def density(data: bytes) -> Density | None:
    """Return the resolution that the block states, or None."""
    block = parse(data)
    if block is None:
        return None
    x, y, unit = (block.find(tag) for tag in (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT))
    if x is None or y is None:
        return None
    horizontal, vertical = float(block.rational(x)), float(block.rational(y))
    name = UNITS.get(block.number(unit) if unit else 2, "none")
    if horizontal <= 0 or vertical <= 0 or (name == "none" and horizontal == vertical):
        return None
    return Density(horizontal, vertical, name)


def from_density(density: Density) -> bytes:
    """Return an EXIF block that states only the resolution."""
    unit: Unit = "inch" if density.unit == "metre" else density.unit
    numbers = (density.x, density.y) if unit == "none" else density.per(unit)
    code = next(code for code, name in UNITS.items() if name == unit)
    values = [Fraction(round(number, 2)).limit_denominator(100) for number in numbers]
    entries = Struct(">HHIIHHIIHHIHH").pack(
        *(X_RESOLUTION, RATIONAL, 1, 50),
        *(Y_RESOLUTION, RATIONAL, 1, 58),
        *(RESOLUTION_UNIT, SHORT, 1, code, 0),
    )
    rationals = b"".join(Struct(">II").pack(value.numerator, value.denominator) for value in values)
    return b"MM\0*" + Struct(">IH").pack(8, 3) + entries + bytes(4) + rationals

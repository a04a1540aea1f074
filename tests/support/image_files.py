"""Image files with metadata, whole and broken, and readers of metadata that share no code with the service."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def saved(pixels: Array, kind: str, **options: Any) -> bytes:
    """Encode uint8 H,W or H,W,C by Pillow."""
    out = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).save(out, kind, **options)
    return out.getvalue()


def waves(height: int, width: int, channels: int = 3) -> Array:
    """Return a smooth image that differs under every rotation and reflection."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return (120 + 60 * np.sin(y / 7 + c) + 50 * np.cos(x / 5) + y - x / 2).clip(0, 255).astype(np.uint8)


# JPEG


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Insert segments behind the JFIF header."""
    return jpeg[:20] + b"".join(segments) + jpeg[20:]


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Return marker and body of the segments before the first scan."""
    entries: list[tuple[int, bytes]] = []
    at = 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        entries.append((jpeg[at + 1], jpeg[at + 4 : at + 2 + length]))
        at += 2 + length
    return entries


def profile_segments(profile: bytes, size: int = 60_000) -> list[bytes]:
    parts = [profile[at : at + size] for at in range(0, len(profile), size)]
    return [
        segment(0xE2, b"ICC_PROFILE\0" + bytes((number, len(parts))) + part)
        for number, part in enumerate(parts, start=1)
    ]


# PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Insert chunks behind the header."""
    return png[:33] + b"".join(chunks) + png[33:]


def before_end(png: bytes, *chunks: bytes) -> bytes:
    """Insert chunks behind the image data."""
    return png[:-12] + b"".join(chunks) + png[-12:]


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and body of each chunk; fail for a wrong checksum."""
    entries: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(png[at + 8 + length : at + 12 + length], "big")
        entries.append((kind, body))
        at += 12 + length
    return entries


# WebP


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def riff_chunks(webp: bytes) -> list[tuple[bytes, bytes]]:
    entries: list[tuple[bytes, bytes]] = []
    at = 12
    while at < len(webp):
        kind, length = struct.unpack_from("<4sI", webp, at)
        entries.append((kind, webp[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return entries


def with_riff_chunks(webp: bytes, flags: int, *extra: bytes) -> bytes:
    """Make an extended WebP file of a simple one, with chunks behind the image."""
    image = Image.open(BytesIO(webp))
    sides = b"".join((side - 1).to_bytes(3, "little") for side in image.size)
    body = riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides) + webp[12:] + b"".join(extra)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


# EXIF

ARTIST = "Müller\0".encode("latin-1")
TITLE = "\N{HIRAGANA LETTER A}\N{HIRAGANA LETTER I}\0".encode("shift_jis")
MAKER_NOTE = bytes(range(200))
THUMBNAIL = b"\xff\xd8" + b"\xff\xda\0\2" * 120 + b"\xff\xd9"

Entry = tuple[int, int, int, bytes]  # tag, type, count and value


def exif(orientation: int = 1, size: tuple[int, int] = (9, 6), order: str = ">", thumbnail: bytes = THUMBNAIL) -> bytes:
    """Return a TIFF structure as a camera writes it: text in other encodings, a maker note, a place and a thumbnail."""
    short = order + "HH"
    entries: list[Entry] = [
        (0x0100, 4, 1, struct.pack(order + "I", size[0])),
        (0x0101, 3, 1, struct.pack(short, size[1], 0)),
        (0x010E, 2, len(TITLE), TITLE),
        (0x0112, 3, 1, struct.pack(short, orientation, 0)),
        (0x011A, 5, 1, struct.pack(order + "II", 300, 1)),
        (0x011B, 5, 1, struct.pack(order + "II", 150, 1)),
        (0x0128, 3, 1, struct.pack(short, 2, 0)),
        (0x013B, 2, len(ARTIST), ARTIST),
    ]
    inner: list[Entry] = [
        (0x927C, 7, len(MAKER_NOTE), MAKER_NOTE),
        (0xA002, 3, 1, struct.pack(short, size[0], 0)),
        (0xA003, 4, 1, struct.pack(order + "I", size[1])),
    ]
    place: list[Entry] = [(0x0001, 2, 2, b"N\0\0\0")]
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8)
    blank = [*entries, (0x8769, 4, 1, bytes(4)), (0x8825, 4, 1, bytes(4))]
    inner_at = 8 + len(_directory(blank, 8, order, 0))
    place_at = inner_at + len(_directory(inner, inner_at, order, 0))
    last_at = place_at + len(_directory(place, place_at, order, 0))
    pointers = [(0x8769, 4, 1, struct.pack(order + "I", inner_at)), (0x8825, 4, 1, struct.pack(order + "I", place_at))]
    body = _directory([*entries, *pointers], 8, order, last_at if thumbnail else 0)
    body += _directory(inner, inner_at, order, 0) + _directory(place, place_at, order, 0)
    if thumbnail:
        thumbnail_at = last_at + 2 + 2 * 12 + 4
        body += _directory(
            [
                (0x0201, 4, 1, struct.pack(order + "I", thumbnail_at)),
                (0x0202, 4, 1, struct.pack(order + "I", len(thumbnail))),
            ],
            last_at,
            order,
            0,
        )
        body += thumbnail
    return head + body


def _directory(entries: list[Entry], offset: int, order: str, following: int) -> bytes:
    values = b""
    rows = b""
    values_at = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        rows += struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            rows += value.ljust(4, b"\0")
        else:
            rows += struct.pack(order + "I", values_at + len(values))
            values += value + b"\0" * (len(value) % 2)
    return struct.pack(order + "H", len(entries)) + rows + struct.pack(order + "I", following) + values


# XMP, IPTC

XMP = b"""<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about=''
 xmlns:tiff='http://ns.adobe.com/tiff/1.0/' xmlns:exif='http://ns.adobe.com/exif/1.0/' xmlns:xmp='http://ns.adobe.com/xap/1.0/'
 tiff:Orientation='6' exif:PixelXDimension='9' exif:PixelYDimension='6'><tiff:ImageWidth>9</tiff:ImageWidth>
<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails><xmp:Label>M\xc3\xbcller</xmp:Label>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"""
IPTC = b"\x1c\x02\x50\0\x06M\xfcller"


def photoshop(*resources: tuple[int, bytes]) -> bytes:
    """Return a block of Photoshop resources, of id and data."""
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2)
        for number, data in resources
    )


# ICC profiles


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    """Return an ICC profile of version 2 with these tags."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78), **tags}
    tags |= {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"cprt": b"text" + bytes(4) + b"x\0"}
    offset = 128 + 4 + 12 * len(tags)
    table = struct.pack(">I", len(tags))
    data = b""
    for name, body in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    head = struct.pack(">I4sI", offset + len(data), b"none", 0x02400000) + device + space + pcs
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + table + data


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def grey_profile(gamma: float = 1.8) -> bytes:
    return profile(b"GRAY", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)})


def cmyk_profile() -> bytes:
    """Return a profile of inks that are weaker than ideal ones: full ink leaves a quarter of the lightness."""
    corners = np.array(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij")).reshape(4, 16).T  # the last ink varies fastest
    lightness = 100 * (1 - 0.75 * (1 - (1 - corners[:, :3].mean(1)) * (1 - corners[:, 3])))
    a = 40 * (corners[:, 1] - corners[:, 0]) * (1 - corners[:, 3])
    b = 40 * (corners[:, 2] - corners[:, 1] / 2) * (1 - corners[:, 3])
    lab = np.stack([lightness / 100 * 255, a + 128, b + 128], axis=1).round().clip(0, 255).astype(np.uint8)
    matrix = struct.pack(">9i", *(65536 if at % 4 == 0 else 0 for at in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + lab.tobytes() + ramp * 3
    return profile(b"CMYK", {b"A2B0": table}, b"Lab ", b"prtr")


# BMP


def bmp(pixels: Array, *, profile: bytes = b"", gamma: float = 0.0, space: int = 0) -> bytes:
    """Return a BMP file with a header of version 5, a profile, or a calibration with the primaries of P3."""
    plain = saved(pixels, "BMP")
    body = plain[54:]
    points = [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]
    numbers = [round(value * (1 << 30)) for x, y in points for value in (x, y, 1 - x - y)] if gamma else [0] * 9
    head = struct.pack("<I", 124) + plain[18:54] + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head += struct.pack("<I9i3I", 0x4D424544 if profile else space, *numbers, *[round(gamma * 65536)] * 3)
    head += struct.pack("<4I", 4, 124 + len(body) if profile else 0, len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(body) + len(profile), 0, 0, 138) + head + body + profile


def calibrated_bmp(pixels: Array) -> bytes:
    return bmp(pixels, gamma=1.8)


# GIF


def gif_with_xmp(gif: bytes, packet: bytes = XMP) -> bytes:
    """Insert an XMP packet behind the colour table, with the trailer that Adobe demands."""
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    at = 13 + (3 << ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0)
    return gif[:at] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + gif[at:]

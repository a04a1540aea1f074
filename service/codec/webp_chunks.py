"""Splits WebP files into the image and its metadata. Published as RFC 9649."""

from struct import Struct

from service.codec import exif
from service.codec.metadata import FileParts
from service.errors import InvalidImage

CHUNK_HEADER = Struct("<4sI")
UINT32 = Struct("<I")
HEADER_BYTES = 12
MAX_CHUNKS = 50_000  # bounds the time
IMAGE_KINDS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
METADATA_FLAGS = 0x20 | 0x08 | 0x04  # of the VP8X chunk: profile, EXIF and XMP


def split(data: bytes) -> FileParts:
    """Take the metadata from the chunks of the RIFF container. Raises InvalidImage for too many chunks."""
    parts = FileParts(data)
    pieces: list[bytes] = []
    bodies: dict[bytes, bytes] = {}
    offset = HEADER_BYTES
    end = min(len(data), 8 + UINT32.unpack_from(data, 4)[0])
    for _ in range(MAX_CHUNKS):
        if offset + 8 > end:
            break
        kind, length = CHUNK_HEADER.unpack_from(data, offset)
        start, stop = offset + 8, offset + 8 + length
        if kind in IMAGE_KINDS:
            if stop > len(data):
                return FileParts(data)  # truncated, for the decoder to judge
            piece = data[offset:stop] + b"\0" * (length % 2)
            if kind == b"ANIM":
                parts.metadata.mark_other("frames")
            pieces.append(_without_flags(piece) if kind == b"VP8X" else piece)
        elif stop <= len(data):
            bodies.setdefault(kind, data[start:stop])
        else:
            bodies.setdefault(kind, b"")
        offset = stop + length % 2
    else:
        raise InvalidImage(f"the WebP has more than {MAX_CHUNKS} chunks")
    body = b"".join(pieces)
    parts.image = b"".join((b"RIFF", UINT32.pack(4 + len(body)), b"WEBP", body))
    _take(parts, bodies)
    if data[end:].strip(b"\0"):
        parts.metadata.mark_other("trailer")
    parts.metadata.check()
    return parts


def _without_flags(piece: bytes) -> bytes:
    if len(piece) < 9:
        return piece
    return piece[:8] + bytes((piece[8] & ~METADATA_FLAGS,)) + piece[9:]


def _take(parts: FileParts, bodies: dict[bytes, bytes]) -> None:
    """Take metadata from the bodies of chunks. An empty body is that of a truncated chunk."""
    metadata = parts.metadata
    for kind, body in bodies.items():
        if kind == b"ICCP":
            parts.icc = body
            if not body:
                metadata.mark_broken("icc")
        elif kind == b"EXIF":
            metadata.exif = body.removeprefix(exif.PREFIX)
            if not metadata.exif:
                metadata.mark_broken("exif")
        elif kind == b"XMP ":
            metadata.xmp = body
            if not body:
                metadata.mark_broken("xmp")
        else:
            metadata.mark_other("other")

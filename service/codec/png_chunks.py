"""Splits PNG files into the image and its metadata, and writes the chunks of metadata.

Ancillary chunks that are invalid or too large are left out, as libpng does. Published as "Portable Network Graphics
(PNG) Specification (Third Edition)", W3C 2025.
"""

import zlib
from binascii import crc32
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from isal import isal_zlib

from service.codec import exif, photoshop, png_text
from service.codec.density import Density
from service.codec.metadata import MAX_METADATA_BYTES, FileParts, Metadata
from service.errors import InvalidImage

SIGNATURE_BYTES = 8
CHUNK_HEADER = Struct(">I4s")
UINT32 = Struct(">I")
IEND = b"\0\0\0\0IEND\xaeB`\x82"

MAX_CHUNKS = 100_000  # bounds the time
MAX_PROFILES = 16  # no ordinary file has more than one
MAX_TEXTS = 500  # that are copied
MAX_INFLATED_BYTES = 8 * MAX_METADATA_BYTES  # of all compressed chunks of a file, which are inflated to verify them
COLOUR_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
SIGNIFICANT_BITS = b"sBIT"
TRANSPARENCY = b"tRNS"
ANIMATION_KINDS = (b"acTL", b"fcTL", b"fdAT")
ONE_FRAME = b"\0\0\0\1"
# Known chunks that are neither copied nor missed: they are about the samples or the palette of this file.
SILENT_KINDS = (SIGNIFICANT_BITS, TRANSPARENCY, b"bKGD", b"hIST", b"sPLT", *ANIMATION_KINDS)
MIN_TRANSPARENCY_BYTES = {b"\0": 2, b"\2": 6}  # by colour type
XMP_KEYWORD = b"XML:com.adobe.xmp"
RAW_PROFILE_PREFIX = b"Raw profile type "


@dataclass(slots=True)
class PngParts(FileParts):
    """A PNG file in parts. `inflatable_bytes` is what is left of the limit."""

    inflatable_bytes: int = MAX_INFLATED_BYTES

    def inflate(self, data: bytes) -> bytes:
        """Inflate a complete zlib stream of at most MAX_METADATA_BYTES. Raises ValueError."""
        stream = zlib.decompressobj()
        try:
            limit = min(MAX_METADATA_BYTES, self.inflatable_bytes)
            inflated = stream.decompress(data, limit) if limit else b""
        except zlib.error as error:
            raise ValueError("not a zlib stream") from error
        self.inflatable_bytes -= len(inflated)
        if not stream.eof:
            raise ValueError("a truncated or too large zlib stream")
        return inflated


def split(data: bytes) -> PngParts:
    """Take the metadata from the ancillary chunks. Raises InvalidImage for too many chunks or profiles."""
    parts = PngParts(data)
    pieces: list[bytes] = [data[:SIGNATURE_BYTES]]
    offset = SIGNATURE_BYTES
    has_data = False
    profiles = 0
    for _ in range(MAX_CHUNKS):
        if offset + 8 > len(data):
            break
        length, kind = CHUNK_HEADER.unpack_from(data, offset)
        stop = offset + 8 + length
        if stop + 4 > len(data) or (has_data and not kind.isalpha()):
            pieces.append(data[offset:])  # a truncated file
            break
        piece = data[offset : stop + 4]
        offset = stop + 4
        if kind == b"IEND":
            pieces.append(piece)
            if data[offset:].strip(b"\0"):
                parts.metadata.mark_other("trailer")
            break
        is_sample_depth = kind == SIGNIFICANT_BITS and _is_intact(piece)
        if not kind[:1].islower() or is_sample_depth or _is_transparency(parts, data, piece):
            has_data = has_data or kind == b"IDAT"
            pieces.append(piece)
        else:
            profiles += kind == b"iCCP"
            if profiles > MAX_PROFILES:
                raise InvalidImage(f"the PNG has more than {MAX_PROFILES} ICC profiles")
            take_chunk(parts, kind, piece[8:-4], intact=_is_intact(piece))
    else:
        raise InvalidImage(f"the PNG has more than {MAX_CHUNKS} chunks")
    parts.image = b"".join(pieces)
    parts.metadata.check()
    return parts


def image_data(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the joined bodies of all IDAT chunks, what stands before the first, and what follows the last."""
    offset = SIGNATURE_BYTES
    spans: list[tuple[int, int]] = []
    for _ in range(MAX_CHUNKS):
        if offset + 8 > len(data):
            break
        length, kind = CHUNK_HEADER.unpack_from(data, offset)
        if kind == b"IDAT":
            spans.append((offset, offset + 12 + length))
        offset += 12 + length
    if not spans:
        return b"", data, b""
    return b"".join(data[start + 8 : stop - 4] for start, stop in spans), data[: spans[0][0]], data[spans[-1][1] :]


def _is_intact(piece: bytes) -> bool:
    return crc32(piece[4:-4]) == UINT32.unpack_from(piece, len(piece) - 4)[0]


def _is_transparency(parts: PngParts, data: bytes, piece: bytes) -> bool:
    """Return whether the chunk is a valid `tRNS`. An invalid one is named in the metadata."""
    if piece[4:8] != TRANSPARENCY:
        return False
    valid = _is_intact(piece) and len(piece) - 12 >= MIN_TRANSPARENCY_BYTES.get(data[25:26], 0)
    if not valid:
        parts.metadata.mark_broken("transparency")
    return valid


def take_chunk(parts: PngParts, kind: bytes, body: bytes, *, intact: bool) -> None:
    """Take metadata from an ancillary chunk. `intact` says whether its checksum is right."""
    metadata = parts.metadata
    if kind in TEXT_KINDS:
        try:
            if not intact or len(body) > MAX_METADATA_BYTES or len(metadata.texts) >= MAX_TEXTS:
                raise ValueError("a wrong checksum, too large or too many")
            _take_text(parts, kind, body)
        except ValueError:
            metadata.mark_broken("text")
    elif kind == b"iCCP":
        try:
            if not parts.icc:
                parts.icc = _profile(parts, body) if intact else b""
        except ValueError:
            parts.icc = b""
        if not parts.icc:
            metadata.mark_broken("icc")
    elif kind == b"eXIf":
        if intact and not metadata.exif:
            metadata.exif = body.removeprefix(exif.PREFIX)
        elif not intact:
            metadata.mark_broken("exif")
    elif kind == b"pHYs":
        metadata.density = metadata.density or (Density.from_phys(body) if intact else None)
        if not intact or len(body) != 9:
            metadata.mark_broken("resolution")
    elif kind in COLOUR_LENGTHS:
        valid = intact and len(body) == COLOUR_LENGTHS[kind] and (any(body) or kind == b"sRGB")
        if valid and all(kind != other for other, _ in metadata.colour):
            metadata.colour += ((kind, body),)
        elif not valid:
            metadata.mark_broken("gamma")
    elif kind == b"tIME" and len(body) == 7 and intact:
        metadata.texts += ((kind, body),)
    elif kind == b"acTL" and len(body) == 8 and body[:4] > ONE_FRAME:
        metadata.mark_other("frames")
    elif kind not in SILENT_KINDS:
        metadata.mark_other("other")


def _profile(parts: PngParts, body: bytes) -> bytes:
    """Return the profile of an iCCP chunk. Raises ValueError if it is invalid or too large."""
    _, separator, rest = body.partition(b"\0")
    if not separator or rest[:1] != b"\0":
        raise ValueError("an unknown compression method")
    return parts.inflate(rest[1:])


def _take_text(parts: PngParts, kind: bytes, body: bytes) -> None:
    """Take XMP, a raw profile, or the chunk as it is. Raises ValueError if the chunk is invalid or too large."""
    keyword, separator, rest = body.partition(b"\0")
    if not separator or not 1 <= len(keyword) <= 79:
        raise ValueError("no keyword")
    if kind == b"tEXt":
        text = rest
    elif kind == b"zTXt":
        if rest[:1] != b"\0":
            raise ValueError("an unknown compression method")
        text = parts.inflate(rest[1:])
    else:
        _, _, text = rest[2:].split(b"\0", 2)
        if rest[0] == 1 and rest[1] == 0:
            text = parts.inflate(text)
        elif rest[0]:
            raise ValueError("an unknown compression method")
        text.decode()
    metadata = parts.metadata
    if kind == b"iTXt" and keyword == XMP_KEYWORD:
        metadata.xmp = metadata.xmp or text
    elif not (keyword.startswith(RAW_PROFILE_PREFIX) and _take_raw_profile(metadata, keyword, text)):
        metadata.texts += ((kind, body),)


def _take_raw_profile(metadata: Metadata, keyword: bytes, text: bytes) -> bool:
    """Take metadata from a text of ImageMagick: a name, a length and hexadecimal digits. Return whether it was taken.

    The orientation of such a block is not applied to the pixels, because browsers do not either.
    """
    profile = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    name = keyword[len(RAW_PROFILE_PREFIX) :]
    if name in (b"exif", b"APP1") and profile.startswith(exif.PREFIX):
        metadata.unapplied_exif = profile[len(exif.PREFIX) :]
    elif name == b"xmp":
        metadata.xmp = metadata.xmp or profile
    elif name in (b"iptc", b"8bim"):
        metadata.photoshop = metadata.photoshop or profile.removeprefix(photoshop.JPEG_PREFIX)
    else:
        return False
    return True


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return b"".join((CHUNK_HEADER.pack(len(body), kind), body, UINT32.pack(crc32(body, crc32(kind)))))


def ancillary(icc: bytes | None, metadata: Metadata) -> bytes:
    """Return the chunks of a profile and of metadata, which stand before the image data."""
    return b"".join(chunk(kind, body) for kind, body in _chunk_bodies(icc, metadata))


def _chunk_bodies(icc: bytes | None, metadata: Metadata) -> Iterable[tuple[bytes, bytes]]:
    for kind, body in metadata.colour:
        if not (icc and kind == b"sRGB"):  # the two exclude each other
            yield kind, body
    if icc:
        yield b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc)
    if metadata.density:
        yield b"pHYs", metadata.density.phys()
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp
    if metadata.photoshop:
        yield png_text.iptc_chunk(metadata.photoshop)
    for comment in metadata.comments:
        yield png_text.comment_chunk(comment)
    yield from metadata.texts

"""Splits JPEG files into the image and its metadata, and inserts metadata into JPEG files.

The metadata are published as ICC.1 annex B.4, CIPA DC-008 and Adobe's XMP specification part 3.
"""

from service.codec import exif, photoshop, xmp
from service.codec.density import Density
from service.codec.jpeg_markers import APP0, APP1, APP2, APP13, APP14, APP15, COM, EOI, LENGTH, SOI, SOS, walk
from service.codec.metadata import MAX_METADATA_BYTES, FileParts, Metadata
from service.errors import InvalidImage

ICC_PREFIX = b"ICC_PROFILE\0"
MAX_ICC_BYTES = 16 << 20  # what the segments of a profile can hold; one that is applied may be larger than one copied
MAX_SEGMENT_BODY = 65533
MAX_REPETITIONS = 64  # comments, and segments of extended XMP, that are copied


def limit_scans(data: bytes, limit: int) -> None:
    """Raise InvalidImage if the image has more than `limit` scans. Each costs a pass over all pixels."""
    scans = 0
    for segment in walk(data):
        scans += segment.marker == SOS
        if scans > limit:
            raise InvalidImage(f"the JPEG has more than {limit} scans")


def end_of_image(data: bytes) -> int:
    """Return the offset behind the end of the image, or the length of `data` if the end is missing."""
    return next((segment.stop for segment in walk(data) if segment.marker == EOI), len(data))


def has_trailer(data: bytes) -> bool:
    """Return whether anything but zeros follows the image. Looks for the end only if the file does not end with it."""
    if data.endswith(b"\xff\xd9"):
        return False
    return bool(data[end_of_image(data) :].strip(b"\0"))


def split(data: bytes) -> FileParts:
    """Take the metadata from the segments before the first scan. Raises InvalidImage for too many segments."""
    parts = FileParts(data)
    pieces: list[bytes] = [SOI]
    profile: dict[int, bytes] = {}
    profile_count = 0
    for segment in walk(data):
        marker, start, stop = segment
        if marker == SOS:
            pieces.append(data[start:])
            parts.image = b"".join(pieces)
            break
        body = segment.body(data)
        if marker == APP2 and body.startswith(ICC_PREFIX) and len(body) >= 14:
            profile.setdefault(body[12], body[14:])
            profile_count = profile_count or body[13]
            continue
        if (APP1 <= marker <= APP15 and marker != APP14) or marker == COM:
            _take_segment(parts.metadata, marker, body)
            continue
        if marker == APP0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            parts.metadata.density = parts.metadata.density or Density.from_jfif(body[7:12])
        if marker == APP14 and body.startswith(b"Adobe"):
            parts.inverted_cmyk = True
        pieces.append(data[start:stop])
    if profile:
        numbers = range(1, profile_count + 1)
        parts.icc = b"".join(profile.get(number, b"") for number in numbers)
        if not profile_count or not all(number in profile for number in numbers) or len(parts.icc) > MAX_ICC_BYTES:
            parts.icc = b""
            parts.metadata.mark_broken("icc")
    if has_trailer(data):
        parts.metadata.mark_other("trailer")
    parts.metadata.check()
    return parts


def _take_segment(metadata: Metadata, marker: int, body: bytes) -> None:
    """Take metadata from the body of an APP or COM segment."""
    if marker == COM:
        if len(metadata.comments) < MAX_REPETITIONS:
            metadata.comments += (body,)
        else:
            metadata.mark_broken("comment")
    elif marker == APP1 and body.startswith(exif.PREFIX):
        if len(metadata.exif) <= MAX_METADATA_BYTES:
            metadata.exif += body[len(exif.PREFIX) :]
    elif marker == APP1 and body.startswith(xmp.JPEG_PREFIX):
        metadata.xmp = metadata.xmp or body[len(xmp.JPEG_PREFIX) :]
    elif marker == APP1 and body.startswith(xmp.JPEG_EXTENSION_PREFIX):
        if len(metadata.extended_xmp) < MAX_REPETITIONS:
            metadata.extended_xmp += (body,)
        else:
            metadata.mark_broken("xmp")
    elif marker == APP13 and body.startswith(photoshop.JPEG_PREFIX):
        if len(metadata.photoshop) <= MAX_METADATA_BYTES:
            metadata.photoshop += body[len(photoshop.JPEG_PREFIX) :]
    elif not (marker == APP0 and body.startswith(b"JFXX\0")):  # a thumbnail
        metadata.mark_other("other")


def insert(data: bytes, icc: bytes | None, metadata: Metadata) -> bytes:
    """Insert a profile and metadata into a JPEG file that begins with a JFIF segment."""
    jfif_stop = 4 + LENGTH.unpack_from(data, 4)[0]
    jfif = bytearray(data[:jfif_stop])
    density = metadata.density.jfif() if metadata.density else b""
    if density:
        jfif[13:18] = density
    pieces: list[bytes] = [bytes(jfif)]
    if metadata.exif:
        pieces.append(_segment(APP1, exif.PREFIX + metadata.exif))
    if metadata.xmp:
        pieces.append(_segment(APP1, xmp.JPEG_PREFIX + metadata.xmp))
    pieces += [_segment(APP1, body) for body in metadata.extended_xmp]
    pieces += _split_segments(APP13, [photoshop.JPEG_PREFIX], metadata.photoshop)
    if icc:
        step = MAX_SEGMENT_BODY - len(ICC_PREFIX) - 2
        count = -(-len(icc) // step)
        pieces += _split_segments(APP2, [ICC_PREFIX + bytes((n, count)) for n in range(1, count + 1)], icc)
    pieces += [_segment(COM, body) for body in metadata.comments]
    return b"".join((*pieces, data[jfif_stop:]))


def _split_segments(marker: int, prefixes: list[bytes], body: bytes) -> list[bytes]:
    """Return as many segments as the body needs; the last prefix is repeated."""
    step = MAX_SEGMENT_BODY - len(prefixes[0])
    starts = range(0, len(body), step)
    return [
        _segment(marker, prefixes[min(at, len(prefixes) - 1)] + body[start : start + step])
        for at, start in enumerate(starts)
    ]


def _segment(marker: int, body: bytes) -> bytes:
    return b"".join((bytes((0xFF, marker)), LENGTH.pack(len(body) + 2), body))

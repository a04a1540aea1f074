"""Plain PNG without a reader's overhead: chunks by hand, rows by Pillow's own decoder, deflate by ISA-L.

Reads 8-bit grey or colour, with alpha or without, and nothing else in the file that could matter; whatever is not that,
or fails, is the reference's to judge (`picture`). Writes every PNG that is answered.
"""

import zlib
from binascii import crc32
from dataclasses import dataclass
from struct import Struct, pack

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

PREFIX = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
IEND = b"\0\0\0\0IEND\xaeB`\x82"
# Depth, colour, compression, filter, interlace -> Pillow's mode.
MODES = {bytes((8, colour, 0, 0, 0)): mode for colour, mode in ((0, "L"), (2, "RGB"), (4, "LA"), (6, "RGBA"))}
COLOUR_TYPES = (0, 4, 2, 6)  # by channels less one
# Chunks of this length that no decoder of ours heeds; `tRNS`, profiles, EXIF, text and animation are not plain.
IGNORED_CHUNKS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"tIME": 7}
READ_BYTES = 1 << 16  # Pillow reads so much at a time; broken data ends alike only in like pieces
MAX_CHUNKS = 4096  # to walk over them must be short
FILTER_NONE, FILTER_UP = 0, 2  # filters of a row
MIN_DEFLATE_BYTES = 1200  # bytes of rows that are not worth packing

CHUNK_HEADER, SIZE, UINT32 = Struct(">I4s"), Struct(">II"), Struct(">I")


@dataclass(slots=True)
class SimplePng:
    """A whole file of plain chunks: its size and mode, and where its packed pixels lie."""

    size: tuple[int, int]
    mode: str
    data: bytes
    spans: list[tuple[int, int]]

    def pixels(self) -> NDArray[np.uint8]:
        """H,W,C as the reference decodes them. Raises on data that are broken or cut off."""
        width, height = self.size
        image = Image.core.new(self.mode, self.size)
        decoder = Image.core.zip_decoder(self.mode, self.mode)
        decoder.setimage(image, (0, 0, width, height))
        left, error = 0, 0
        for start, end in self.spans:
            while left >= 0 and start < end:
                left, error = decoder.decode(self.data[start : min(start + READ_BYTES, end)])
                start += READ_BYTES
        decoder.cleanup()
        if left >= 0 or error:
            raise ValueError("the rows are broken or cut off")
        encoder = Image.core.raw_encoder(self.mode, self.mode)
        encoder.setimage(image, (0, 0, width, height))
        _, _, data = encoder.encode(width * height * len(self.mode))
        return np.frombuffer(data, np.uint8).reshape(height, width, len(self.mode))


def parse(data: bytes) -> SimplePng | None:
    """The chunks of a plain PNG, sums checked as Pillow checks them; None where it is not plain. Decodes nothing."""
    mode = MODES.get(data[24:29])
    if mode is None or not data.startswith(PREFIX) or not data.endswith(IEND) or not _crc_ok(data, 12, 29):
        return None
    width, height = SIZE.unpack_from(data, 16)
    at, end = 33, len(data) - len(IEND)
    spans: list[tuple[int, int]] = []
    for _ in range(MAX_CHUNKS):
        if at == end:
            return SimplePng((width, height), mode, data, spans) if spans and width and height else None
        length, kind = CHUNK_HEADER.unpack_from(data, at)
        start, at = at + 8, at + 12 + length
        if at > end:
            return None
        if kind == b"IDAT":
            spans.append((start, at - 4))
        elif spans or IGNORED_CHUNKS.get(kind) != length or not _crc_ok(data, start - 4, at - 4):
            return None
    return None


def _crc_ok(data: bytes, start: int, end: int) -> bool:
    return crc32(data[start:end]) == UINT32.unpack_from(data, end)[0]


def write(bands: NDArray[np.uint8], icc: bytes | None, exif: bytes | None = None) -> bytes:
    """H,W,C of 1 to 4 channels, the last of 2 or 4 being alpha."""
    height, width, channels = bands.shape
    head = pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels - 1], 0, 0, 0)
    profile = _chunk(b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc)) if icc else b""
    notes = _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    body = _deflate(_filter_rows(bands.reshape(height, width * channels)))
    return b"".join((PREFIX[:8], _chunk(b"IHDR", head), profile, notes, _chunk(b"IDAT", body), IEND))


def _deflate(rows: NDArray[np.uint8]) -> bytes:
    """What fits a packet and a disk block anyway is stored as it is: to pack it takes longer than its model's run."""
    return zlib.compress(rows.data, 0) if rows.size <= MIN_DEFLATE_BYTES else isal_zlib.compress(rows, 1)


def _filter_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows with their filter in front: one for all, since choosing for each costs more than it saves."""
    height, width = rows.shape
    out = np.empty((height, width + 1), np.uint8)
    if (
        out.size <= MIN_DEFLATE_BYTES or 2 * np.count_nonzero(rows) < rows.size
    ):  # strokes on black are smallest as they are
        out[:, 0] = FILTER_NONE
        out[:, 1:] = rows
    else:
        out[:, 0] = FILTER_UP
        out[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=out[1:, 1:])
    return out


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join((CHUNK_HEADER.pack(len(body), kind), body, UINT32.pack(crc32(body, crc32(kind)))))

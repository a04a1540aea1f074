"""Fast path for simple PNG files, and the writer of all PNG files. Deflate is done by ISA-L when writing.

`parse` supports 8-bit grey and RGB images, with or without alpha, without chunks that affect the result. `picture`
decodes all other files with `PIL.Image.open`. The fast path skips its overhead: it reads the chunks itself and passes
the rows to Pillow's private decoder `Image.core.zip_decoder`. A new version of Pillow may change that function.
"""

import zlib
from binascii import crc32
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, pack

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from service.codec import png_chunks
from service.codec.metadata import Metadata
from service.codec.png_chunks import CHUNK_HEADER, IEND, UINT32, PngParts, chunk, take_chunk

PREFIX = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# Bit depth, colour type, compression, filter and interlace method, and the Pillow mode.
MODES = {bytes((8, colour, 0, 0, 0)): mode for colour, mode in ((0, "L"), (2, "RGB"), (4, "LA"), (6, "RGBA"))}
COLOUR_TYPES = (0, 4, 2, 6)  # indexed by the number of channels minus one
# Chunks that do not affect the result, and their length. Not `tRNS`, profiles, EXIF, text or animation.
IGNORED_CHUNKS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"tIME": 7}
READ_BYTES = 1 << 16  # block size of Pillow; corrupt data only decode to the same rows in the same blocks
MAX_CHUNKS = 4096  # bounds the time of `parse`
FILTER_NONE = 0
FILTER_UP = 2
MIN_DEFLATE_BYTES = 1200  # rows up to this size are stored uncompressed

STORED_BLOCK = b"\x78\x01\x01"  # header of zlib, and the bits of a last block that is stored

SIZE = Struct(">II")
STORED_SIZE = Struct("<HH")  # of a stored block: its bytes, and their complement


@dataclass(slots=True)
class SimplePng:
    """A PNG file that the fast path supports.

    `size` is width and height in pixels. `spans` are the start and stop offsets of the IDAT data in bytes. `ancillary`
    are the chunks of metadata (kind and body).
    """

    size: tuple[int, int]
    mode: str
    data: bytes
    spans: list[tuple[int, int]]
    ancillary: list[tuple[bytes, bytes]]

    def metadata(self) -> Metadata:
        """Return the metadata of the file."""
        if not self.ancillary:
            return Metadata()
        parts = PngParts(b"")
        for kind, body in self.ancillary:
            take_chunk(parts, kind, body, intact=True)
        return parts.metadata

    def pixels(self) -> NDArray[np.uint8]:
        """Decode to uint8 H,W,C with the same values as `PIL.Image.open`.

        Raises ValueError, or an error of Pillow, if the data are corrupt or truncated.
        """
        width, height = self.size
        image = Image.core.new(self.mode, self.size)
        decoder = Image.core.zip_decoder(self.mode, self.mode)
        decoder.setimage(image, (0, 0, width, height))
        consumed = 0  # negative after the last row
        error = 0
        for start, stop in self.spans:
            while consumed >= 0 and start < stop:
                consumed, error = decoder.decode(self.data[start : min(start + READ_BYTES, stop)])
                start += READ_BYTES
        decoder.cleanup()
        if consumed >= 0 or error:
            raise ValueError("the image data are corrupt or truncated")
        encoder = Image.core.raw_encoder(self.mode, self.mode)
        encoder.setimage(image, (0, 0, width, height))
        _, _, data = encoder.encode(width * height * len(self.mode))
        return np.frombuffer(data, np.uint8).reshape(height, width, len(self.mode))


def parse(data: bytes) -> SimplePng | None:
    """Find the image data, without decoding. Return None if the fast path does not support the file.

    Checksums are verified for the same chunks as in Pillow: for all but IDAT.
    """
    mode = MODES.get(data[24:29])
    if mode is None or not data.startswith(PREFIX) or not data.endswith(IEND) or not _crc_ok(data, 12, 29):
        return None
    width, height = SIZE.unpack_from(data, 16)
    offset = 33  # of the first chunk after IHDR
    end = len(data) - len(IEND)
    spans: list[tuple[int, int]] = []
    ancillary: list[tuple[bytes, bytes]] = []
    for _ in range(MAX_CHUNKS):
        if offset == end:
            return SimplePng((width, height), mode, data, spans, ancillary) if spans and width and height else None
        length, kind = CHUNK_HEADER.unpack_from(data, offset)
        start = offset + 8
        stop = start + length
        offset = stop + 4
        if offset > end:
            return None
        if kind == b"IDAT":
            spans.append((start, stop))
        elif spans or IGNORED_CHUNKS.get(kind) != length or not _crc_ok(data, start - 4, stop):
            return None
        else:
            ancillary.append((kind, data[start:stop]))
    return None


def _crc_ok(data: bytes, start: int, stop: int) -> bool:
    return crc32(data[start:stop]) == UINT32.unpack_from(data, stop)[0]


def write(bands: NDArray[np.uint8], icc: bytes | None, metadata: Metadata) -> bytes:
    """Encode uint8 H,W,C with 1 to 4 channels as PNG. With 2 or 4 channels, the last is alpha."""
    height, width, channels = bands.shape
    ancillary = png_chunks.ancillary(icc, metadata) if icc or not metadata.is_empty() else b""
    body = _deflate(_filter_rows(bands.reshape(height, width * channels)))
    return b"".join((_start(width, height, 8, COLOUR_TYPES[channels - 1]), ancillary, chunk(b"IDAT", body), IEND))


def write_gray16(values: NDArray[np.uint16]) -> bytes:
    """Encode uint16 H,W as a gray PNG of 16 bits."""
    height, width = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, 2 * width)
    return b"".join((_start(width, height, 16, COLOUR_TYPES[0]), chunk(b"IDAT", _deflate(_filter_rows(rows))), IEND))


@lru_cache(maxsize=256)
def _start(width: int, height: int, bit_depth: int, colour_type: int) -> bytes:
    """Return the signature and the first chunk of a file."""
    return PREFIX[:8] + chunk(b"IHDR", pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0))


def _deflate(rows: NDArray[np.uint8]) -> bytes:
    """Compress the filtered rows. Store small images, because compressing them takes longer than the model's run."""
    return _store(rows.tobytes()) if rows.size <= MIN_DEFLATE_BYTES else isal_zlib.compress(rows, 1)


def _store(data: bytes) -> bytes:
    """Return a zlib stream of one stored block (RFC 1951, section 3.2.4), as `zlib.compress` does at level 0.

    zlib would allocate and clear 256 KiB for that.
    """
    size = len(data)
    return b"".join((STORED_BLOCK, STORED_SIZE.pack(size, size ^ 0xFFFF), data, UINT32.pack(zlib.adler32(data))))


def _filter_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the filter type before each row and filter the rows.

    All rows get the same filter, because choosing one for each row takes more time than it saves.
    """
    height, width = rows.shape
    out = np.empty((height, width + 1), np.uint8)
    # Images that are mostly black, such as digits, compress best without a filter.
    if out.size <= MIN_DEFLATE_BYTES or 2 * np.count_nonzero(rows) < rows.size:
        out[:, 0] = FILTER_NONE
        out[:, 1:] = rows
    else:
        out[:, 0] = FILTER_UP
        out[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=out[1:, 1:])
    return out

"""Recovers what a truncated image file contains, and finds which share of the image that is.

A JPEG file that lacks only its end marker is complete, and so is a PNG file with a wrong checksum of its pixels.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.codec import png_chunks
from service.codec.jpeg import decodes_without_warning
from service.codec.jpeg_coding import read_coding
from service.codec.jpeg_markers import EOI, SOS, walk

COEFFICIENTS = 64
ALMOST_ALL = 0.99
ZLIB_HEADER_BYTES = 2
BLOCK_BYTES = 1 << 20
MAX_PIXEL_BYTES = 8  # of a PNG: 4 channels of 16 bits
BACKGROUNDS = (0, 255)  # values of pixels before decoding
PARTLY_DECODED = frozenset(("PNG", "TIFF", "BMP"))  # formats that Pillow decodes up to the missing part


@dataclass(slots=True)
class Recovered:
    """A loaded image, and the decoded share (0 to 1) of its pixels, or of the detail of a progressive JPEG."""

    image: Image.Image
    fraction: float


@dataclass(slots=True)
class _Scan:
    """The header of a scan: its components, the first and last coefficient, and the bits that are still missing."""

    components: bytes
    first: int
    last: int
    missing_bits: int


def recover(data: bytes, name: str, reopen: Callable[[bytes], Image.Image]) -> Recovered | None:
    """Decode what a truncated file contains. Return None if the file is not truncated, or nothing can be decoded.

    `name` is Pillow's name of the format. `reopen` opens a file with Pillow, and may raise any exception.
    """
    if name == "JPEG":
        return _recover_jpeg(data, reopen)
    if name not in PARTLY_DECODED:
        return None
    if name == "PNG" and (repaired := _repair_checksum(data)):
        image = reopen(repaired)
        image.load()
        return Recovered(image, 1.0)
    first, second = (_load_partly(reopen(data), background) for background in BACKGROUNDS)
    fraction = 1 - _share_of_differences(first, second)
    return Recovered(first, _rounded(fraction)) if fraction else None


def _repair_checksum(data: bytes) -> bytes | None:
    """Return a PNG with a correct checksum of its pixels, or None if their compressed stream is not whole.

    Pillow rejects a wrong or missing checksum before it has written the last row. At most as much is decompressed as
    an image of this size can have.
    """
    width, height = (int.from_bytes(data[start : start + 4]) for start in (16, 20))
    max_blocks = 1 + 2 * (MAX_PIXEL_BYTES * width + 1) * height // BLOCK_BYTES
    stream, before, after = png_chunks.image_data(data)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    checksum = 1
    compressed = stream[ZLIB_HEADER_BYTES:]
    try:
        for _ in range(max_blocks):
            if inflater.eof or not compressed:
                break
            checksum = zlib.adler32(inflater.decompress(compressed, BLOCK_BYTES), checksum)
            compressed = inflater.unconsumed_tail
    except zlib.error:
        return None
    if not inflater.eof:
        return None
    end = len(stream) - len(inflater.unused_data)
    return before + png_chunks.chunk(b"IDAT", stream[:end] + checksum.to_bytes(4)) + after


def webp_byte_fraction(data: bytes) -> float | None:
    """Return which share of its bytes a truncated WebP file has, or None if it is not truncated."""
    size = int.from_bytes(data[4:8], "little") + 8
    return _rounded(len(data) / size) if len(data) < size else None


def _recover_jpeg(data: bytes, reopen: Callable[[bytes], Image.Image]) -> Recovered | None:
    scans, end = _read_scans(data)
    coding = read_coding(data)
    if not scans or end is None or coding is None:
        return None
    completed = data[:end].rstrip(b"\xff") + bytes((0xFF, EOI))
    image = reopen(completed)
    image.load()
    is_whole = decodes_without_warning(completed, image.mode)
    if coding.progressive:
        components = coding.frame[6::3]
        fraction = _share_of_detail(scans if is_whole else scans[:-1], components)
    elif is_whole:
        fraction = 1.0
    else:
        first, second = (_load_partly(reopen(data), background) for background in BACKGROUNDS)
        fraction = min(1 - _share_of_differences(first, second), ALMOST_ALL)
    return Recovered(image, _rounded(fraction))


def _read_scans(data: bytes) -> tuple[list[_Scan], int | None]:
    """Return the scans of a JPEG file and the length of its part that can be decoded, or None if it has an end."""
    scans: list[_Scan] = []
    for segment in walk(data):
        if segment.marker == EOI:
            return scans, None
        if segment.stop > len(data):
            return scans, segment.start
        content = segment.body(data)
        if segment.marker == SOS and len(content) >= 6:
            scans.append(_Scan(content[1:-3:2], content[-3], content[-2], content[-1] & 15))
    return scans, len(data)


def _share_of_detail(scans: list[_Scan], components: bytes) -> float:
    """Return the mean over the coefficients of all components: 1 if all bits are there, 1/2 if one is missing, ..."""
    share = np.zeros((256, COEFFICIENTS))
    for scan in scans:
        for component in scan.components:
            share[component, scan.first : scan.last + 1] = 1 / (1 + scan.missing_bits)
    return float(share[list(components)].mean())


def _load_partly(image: Image.Image, background: int) -> Image.Image:
    """Load an image until its data end. Pixels that are not decoded have the value `background`."""
    lazy: Any = image
    bands = len(image.getbands())
    lazy.im = Image.core.fill(image.mode, image.size, background if bands == 1 else (background,) * bands)
    try:
        image.load()
    except OSError:
        lazy.tile = []  # so that Pillow takes the pixels for loaded
    return image


def _share_of_differences(first: Image.Image, second: Image.Image) -> float:
    difference: NDArray[np.bool_] = np.asarray(first) != np.asarray(second)
    return float((difference.any(axis=2) if difference.ndim == 3 else difference).mean())


def _rounded(fraction: float) -> float:
    """Round down to two decimals, so that only a whole image has 1."""
    return int(fraction * 100 + 1e-9) / 100

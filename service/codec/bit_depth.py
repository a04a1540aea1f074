"""Converts samples of more than 8 bits to 8 bits, without clipping.

Files often hold fewer significant bits than their samples could, as 12 bits of a camera in samples of 16 bits. The PNG
specification (third edition, sBIT) demands that such samples are scaled to the full range, but many writers store them
unscaled, which makes the image black. Samples are taken as unscaled if they use the lowest bit and do not exceed a
customary depth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidImage

Samples = NDArray[Any]

CUSTOMARY_DEPTHS = (8, 10, 12, 14)
DARK_HIGH_BYTE = 1 << (CUSTOMARY_DEPTHS[-1] - 8)  # high bytes of samples of at most 14 bits are smaller
EIGHT_BIT_FACTOR = 257  # scales 0..255 to 0..65535
MAX_PNG_CHUNKS = 64  # chunks searched for sBIT
TIFF_MAX_SAMPLE_VALUE = 281
TIFF_PHOTOMETRIC = 262
TIFF_SAMPLE_FORMAT = 339
WHITE_IS_ZERO = 0
SIGNED = 2
CHUNK_HEADER = Struct(">I4s")
LOW_BYTES = {"16B": "16L", "16L": "16B", "16N": "16B"}  # raw modes of Pillow that take the other byte of each sample
WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(slots=True)
class EightBits:
    """Samples as uint8 H,W or H,W,C, and the significant bits per sample before."""

    samples: NDArray[np.uint8]
    bit_depth: int


def wide_raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode of an image that is not loaded, if it has 16 bits per sample, else an empty string."""
    tiles: Sequence[Any] = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    mode = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    return mode if isinstance(mode, str) and mode[-3:] in LOW_BYTES else ""


def convert_single(image: Image.Image, data: bytes) -> EightBits:
    """Convert a loaded image of one channel with 16 or 32 bits or floats (a mode of WIDE_MODES).

    `data` is the file. Raises InvalidImage if a value is not finite.
    """
    samples: Samples = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    if samples.dtype.kind == "f":
        converted = EightBits(_scale_floats(samples), 32)
    else:
        if samples.dtype.kind == "i" and tags.get(TIFF_SAMPLE_FORMAT, (SIGNED,))[0] != SIGNED:
            samples = samples.view(np.uint32)  # Pillow has no mode of unsigned 32 bits
        if samples.dtype.kind == "i":
            samples = (samples.astype(np.int64) - min(0, int(samples.min()))).astype(np.uint32)
        depth = _find_depth(samples, _stated_bits(data, tags))
        converted = EightBits(depth.to_eight_bits(samples), depth.significant)
        key = image.info.get("transparency")
        if isinstance(key, int):
            converted.samples = _add_alpha(converted.samples, samples[:, :, np.newaxis], key)
    if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        converted.samples = 255 - converted.samples
    return converted


def convert_channels(image: Image.Image, raw_mode: str, data: bytes, reopen: Callable[[], Image.Image]) -> EightBits:
    """Convert a loaded image of several channels with 16 bits, of which Pillow took the high bytes.

    The low bytes are decoded only for an image that is dark without them. `raw_mode` is the result of `wide_raw_mode`
    before it was loaded, `data` the file, and `reopen` opens it anew.
    """
    high: NDArray[np.uint8] = np.asarray(image)
    stated = _stated_bits(data, getattr(image, "tag_v2", {}))
    if raw_mode.startswith("LA"):
        high = high[:, :, (0, 3)]
    colours = 1 if high.shape[2] == 2 else 3
    key = image.info.get("transparency")
    dark = high[:, :, :colours].max() < DARK_HIGH_BYTE
    if raw_mode.startswith("RGBa") or not (dark or isinstance(key, tuple)):
        return EightBits(high, stated or 16)
    samples = _decode_all_bytes(high, raw_mode, reopen())
    depth = _find_depth(samples[:, :, :colours], stated)
    narrow = depth.to_eight_bits(samples)
    if colours < samples.shape[2] and samples[:, :, -1].max() >> depth.stored:  # only the colours are unscaled
        narrow[:, :, -1] = high[:, :, -1]
    return EightBits(_add_alpha(narrow, samples, key) if isinstance(key, tuple) else narrow, depth.significant)


def _add_alpha(narrow: NDArray[np.uint8], samples: Samples, key: Any) -> NDArray[np.uint8]:
    """Add an alpha channel that is 0 where `samples` (H,W,C) have the transparent colour `key`, else 255."""
    opaque = (samples != np.asarray(key)).any(axis=2)
    return np.dstack([narrow, opaque.astype(np.uint8) * 255])


def _decode_all_bytes(high: NDArray[np.uint8], raw_mode: str, image: Image.Image) -> NDArray[np.uint16]:
    """Decode an image again for its low bytes, and join them with the high bytes. The shape is that of `high`."""
    is_grey = raw_mode.startswith("LA")  # Pillow has no such raw mode, but both samples fit the bytes of RGBA
    low_mode = "RGBA" if is_grey else raw_mode[:-3] + LOW_BYTES[raw_mode[-3:]]
    image.tile = [  # pyright: ignore[reportAttributeAccessIssue]
        tile._replace(args=low_mode if isinstance(tile.args, str) else (low_mode, *tile.args[1:]))
        for tile in image.tile  # pyright: ignore[reportAttributeAccessIssue]
    ]
    low: NDArray[np.uint8] = np.asarray(image)
    if is_grey:
        low = low[:, :, (1, 3)]
    return np.bitwise_or(high.astype(np.uint16) << 8, low, dtype=np.uint16)


@dataclass(slots=True)
class _Depth:
    """The significant bits per sample, and the bits that the largest possible value takes up in the samples."""

    significant: int
    stored: int

    def to_eight_bits(self, samples: Samples) -> NDArray[np.uint8]:
        shift = self.stored - 8
        return ((samples >> shift) if shift >= 0 else (samples << -shift)).astype(np.uint8)


def _find_depth(samples: Samples, stated: int | None) -> _Depth:
    """Find the depth of samples of uint16 or uint32. `stated` are the significant bits by the file, if it says so."""
    peak = int(samples.max())
    used_bits = int(np.bitwise_or.reduce(samples, axis=None))
    bits = samples.dtype.itemsize * 8
    if stated and stated < bits:
        as_stored = peak < 1 << stated and used_bits & ((1 << (bits - stated)) - 1)
        return _Depth(stated, stated if as_stored else bits)
    if peak >= 1 << 16:
        return _Depth(32, peak.bit_length())
    is_scaled = bits == 16 and (not used_bits & 1 or not (samples % EIGHT_BIT_FACTOR).any())
    depth = next((depth for depth in CUSTOMARY_DEPTHS if peak < 1 << depth), 16)
    return _Depth(16, 16) if is_scaled else _Depth(depth, depth)


def _scale_floats(samples: Samples) -> NDArray[np.uint8]:
    """Scale floats to 0..255. Values up to 1 are the unit range, larger ones that of a customary depth."""
    low, peak = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(peak)):
        raise InvalidImage("the image has values that are not finite; replace them before sending it")
    low = min(low, 0.0)
    span = peak - low
    if span <= 1:
        full = 1.0
    elif span <= 2:  # slightly brighter than white
        full = span
    else:
        full = float(next(((1 << depth) - 1 for depth in (*CUSTOMARY_DEPTHS, 16) if span < 1 << depth), span))
    return np.rint((samples.astype(np.float64) - low) * (255 / full)).astype(np.uint8)


def _stated_bits(data: bytes, tags: Any) -> int | None:
    """Return the significant bits by the chunk sBIT of a PNG, or by the tag MaxSampleValue of a TIFF."""
    maximum = tags.get(TIFF_MAX_SAMPLE_VALUE)
    largest = max(maximum) if isinstance(maximum, tuple) and maximum else maximum
    if isinstance(largest, int) and largest > 0:
        return largest.bit_length()
    offset = 8
    for _ in range(MAX_PNG_CHUNKS if data.startswith(b"\x89PNG") else 0):
        if offset + 8 > len(data):
            return None
        length, kind = CHUNK_HEADER.unpack_from(data, offset)
        if kind == b"IDAT":
            return None
        if kind == b"sBIT" and 1 <= length <= 4:
            bits = max(data[offset + 8 : offset + 8 + length], default=0)
            return bits or None
        offset += 12 + length
    return None

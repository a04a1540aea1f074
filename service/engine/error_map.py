"""Where an input is unusual: the smoothed error of a reconstruction as an array, and as colours over the image.

Errors of single pixels are noisy. So they are smoothed, as anomaly maps usually are (Bergmann et al., "MVTec AD", IJCV
2021).
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from service.card import Card
from service.errors import ImageTooLarge
from service.types import Array

MAX_MAP_PIXELS = 1 << 24  # a map needs about 20 bytes per pixel
SMOOTHING_FRACTION = 1 / 48  # radius of the smoothing, as a fraction of the shorter side
SMOOTHING_PASSES = 3  # box filters one after another, which approximate a Gaussian
FULL_COLOUR_RATIO = 3.0  # map value with the last colour, as a multiple of the largest ordinary error
MIN_OPACITY, MAX_OPACITY = 0.15, 0.85  # of the colours over the image
INFERNO = (
    "000004 040312 0b0724 150b37 210c4a 2e0a5a 3c0965 4a0c6b 57106d 63146e 70196e 7d1e6d 89226a 962766 a32b61 af315c "
    "bb3755 c63e4d d14644 db4f3b e35932 eb6528 f1711e f67f14 f98d0a fb9c06 fcab0f fbba1f f9ca32 f5d949 f2e865 f3f586 "
    "fcffa4"
)
"""Every eighth colour of the map `inferno` (van der Walt and Smith 2015), whose steps look equally large."""


def error_map(inputs: Array, output: Array) -> Array:
    """Return the root of the smoothed squared error of images uint8 H,W,C, on the 0..1 scale: float32 H,W.

    The squared error is averaged over the channels and over the surroundings. Raises ImageTooLarge above
    MAX_MAP_PIXELS.
    """
    height, width = output.shape[:2]
    if height * width > MAX_MAP_PIXELS:
        raise ImageTooLarge(f"map: an error map has at most {MAX_MAP_PIXELS} pixels; send a smaller image, or omit map")
    squared = np.zeros((height, width), np.float32)
    for channel in range(output.shape[2]):
        difference = np.subtract(inputs[:, :, channel], output[:, :, channel], dtype=np.float32)
        squared += np.square(difference, out=difference)
    squared /= np.float32(output.shape[2] * 255**2)
    radius = max(1, round(min(height, width) * SMOOTHING_FRACTION))
    for _ in range(SMOOTHING_PASSES):
        squared = _box_filter(_box_filter(squared, radius).T, radius).T
    return np.sqrt(np.maximum(squared, 0), dtype=np.float32)


def to_gray16(values: Array) -> Array:
    """Return a map float32 H,W as uint16 H,W, in which 65535 is an error of the whole range."""
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)


def overlay(values: Array, image: Array, card: Card) -> Array:
    """Return a map float32 H,W as colours over the image uint8 H,W,C: uint8 H,W,3.

    The image is shown in grey. The last colour stands for FULL_COLOUR_RATIO times the root of the threshold, or without
    one of the 99th percentile of the errors of held-out data.
    """
    share = np.clip(values / np.float32(FULL_COLOUR_RATIO * _ordinary_error(card)), 0, 1)
    colours = _colours()[np.rint(share * 255).astype(np.uint8)]
    opacity = (MIN_OPACITY + (MAX_OPACITY - MIN_OPACITY) * share)[..., np.newaxis].astype(np.float32)
    grey = image.mean(2, dtype=np.float32, keepdims=True)
    return np.rint(opacity * colours + (1 - opacity) * grey).astype(np.uint8)


def contributions(inputs: Array, output: Array, card: Card) -> Mapping[str, float]:
    """Return the fraction of the squared error of a vector (F,) that each column has, in descending order.

    A column of categories has several features. Without columns in the card, features are named by their numbers.
    """
    squared = np.square(inputs.astype(np.float64) - output)
    total = float(squared.sum()) or 1.0
    if card.columns:
        sizes = [column.features for column in card.columns]
        sums = np.add.reduceat(squared, np.cumsum([0, *sizes[:-1]]))
        shares = dict(zip([column.name for column in card.columns], sums / total, strict=True))
    else:
        shares = {str(number): share for number, share in enumerate(squared / total)}
    return {name: float(share) for name, share in sorted(shares.items(), key=lambda item: -item[1])}


def _box_filter(values: Array, radius: int) -> Array:
    """Return the mean over the rows i - radius .. i + radius of each column, float32; edge rows are repeated."""
    padded = np.pad(values, [(radius + 1, radius), (0, 0)], mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    return ((sums[2 * radius + 1 :] - sums[: -2 * radius - 1]) / (2 * radius + 1)).astype(np.float32)


def _ordinary_error(card: Card) -> float:
    """Return the root of the largest mean squared error that counts as ordinary, on the 0..1 scale."""
    percentiles = card.error_percentiles or [1.0] * 101
    error = card.threshold.error if card.threshold else percentiles[99]
    return max(error, 1e-8) ** 0.5


@lru_cache(maxsize=1)
def _colours() -> Array:
    """Return the colour map, uint8 (256, 3)."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in INFERNO.split()], np.float64)
    positions = np.linspace(0, 255, len(anchors))
    channels = [np.interp(np.arange(256), positions, anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, 1)).astype(np.uint8)

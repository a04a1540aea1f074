"""How a model sees images: layout, value range and colour order, as conversions from and to uint8 (N, H, W, C)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import ImportRejected

Array = NDArray[Any]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values v of a model for intensities x in 0..1: v = (x - mean) / std, for all channels or for R, G and B."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


RANGES = {
    "0..1": ValueRange("0..1", (0.0,), (1.0,)),
    "-1..1": ValueRange("-1..1", (0.5,), (0.5,)),
    "0..255": ValueRange("0..255", (0.0,), (1 / 255,)),
    "imagenet": ValueRange("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""The ranges that are in use. `imagenet` is the standardization of torchvision and timm."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model reads and writes images.

    Attributes:
        layout: of the input and the output.
        input: the values of the input.
        output: the values of the output.
        channels: 1 or 3.
        bgr: whether the channels are in the order blue, green, red.
        residual: whether the output is the noise, to be subtracted from the input.
    """

    layout: Layout
    input: ValueRange
    output: ValueRange
    channels: int
    bgr: bool = False
    residual: bool = False

    def __str__(self) -> str:
        values = self.input.name if self.input == self.output else f"{self.input.name} to {self.output.name}"
        order = "" if self.channels == 1 else " BGR" if self.bgr else " RGB"
        return f"{self.layout.upper()} {values}{order}{', output is the noise' if self.residual else ''}"

    def to_model(self, images: Array) -> Array:
        """Convert images uint8 (N, H, W, C) to values float32 of the model."""
        values = (images.astype(np.float32) / 255 - self.mean_of(self.input)) / self.std_of(self.input)
        return self.arrange(values).astype(np.float32)

    def from_model(self, values: Array, images: Array) -> Array:
        """Convert values of the model to intensities float32 (N, H, W, C) in 0..255, neither rounded nor clipped.

        `images` are those that the model was run on, uint8 (N, H, W, C).
        """
        restored = np.moveaxis(values, 1, 3) if self.layout == "nchw" else values
        restored = restored[..., ::-1] if self.bgr else restored
        restored = restored * self.std_of(self.output)
        restored = images / 255 - restored if self.residual else restored + self.mean_of(self.output)
        return (restored * 255).astype(np.float32)

    def arrange(self, values: Array) -> Array:
        """Bring values (N, H, W, C) in the order R, G, B into the order and layout of the model."""
        values = values[..., ::-1] if self.bgr else values
        return np.moveaxis(values, 3, 1) if self.layout == "nchw" else values

    def mean_of(self, values: ValueRange) -> Array:
        """Return the means of a range per channel in the order R, G, B: float32 (C,)."""
        return _per_channel(values.mean, self.channels)

    def std_of(self, values: ValueRange) -> Array:
        """Return the standard deviations of a range per channel in the order R, G, B: float32 (C,)."""
        return _per_channel(values.std, self.channels)


def to_uint8(values: Array) -> Array:
    """Round intensities in 0..255 to uint8 as the served graph does; values outside are clipped."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def parse_range(text: str) -> ValueRange:
    """Parse `0..1`, `-1..1`, `0..255`, `imagenet`, or `MEAN/STD` as in `0.5/0.5` or `123.7,116.3,103.5/58.4,57.1,57.4`.

    Means and standard deviations above 1 count on the scale 0..255. Raises ImportRejected.
    """
    if text in RANGES:
        return RANGES[text]
    mean, slash, std = text.partition("/")
    try:
        means, stds = ([float(part) for part in side.split(",")] for side in (mean, std))
    except ValueError:
        means, stds = [], []
    if not slash or len(means) not in (1, 3) or len(stds) not in (1, 3) or min(stds, default=0) <= 0:
        raise ImportRejected(
            f"--range {text}: choose from {', '.join(RANGES)}, or pass MEAN/STD as numbers, one or three for each, "
            "such as 0.5/0.5"
        )
    scale = 255 if max(*means, *stds) > 1 else 1
    return ValueRange(text, tuple(value / scale for value in means), tuple(value / scale for value in stds))


def _per_channel(values: tuple[float, ...], channels: int) -> Array:
    if channels == 1 and len(values) == 3:
        return np.array([np.mean(values)], np.float32)
    return np.array(np.broadcast_to(values, channels), np.float32)

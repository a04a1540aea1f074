"""JPEG compression by libjpeg-turbo, with a random position of the block grid."""

import numpy as np
import simplejpeg
import torch
from torch import Generator, Tensor

from training.imaging.draws import choice, uniform

_SUBSAMPLINGS = ("444", "422", "420")
_GRID = 16
"""Side in pixels of a block of subsampled chroma, which is the period of the block grid."""


def jpeg_round_trip(pictures: Tensor, quality: tuple[float, float], generator: Generator) -> Tensor:
    """Compress images N,3,H,W with values in 0..1 as JPEG and return the decoded images: float32 N,3,H,W.

    The quality of each image is drawn uniformly from `quality`, a range on the scale of libjpeg. The chroma subsampling
    is 4:4:4 or 4:2:2 for a quarter of the images each and 4:2:0 for half of them. A random number of mirrored rows and
    columns above and to the left of an image shifts its block grid; they are removed after decoding.
    """
    count, _, height, width = pictures.shape
    qualities = uniform(quality, count, generator).flatten().round().int().tolist()
    kinds = choice([1.0, 1.0, 2.0], count, generator).tolist()
    phases = torch.randint(_GRID, (count, 2), generator=generator).tolist()
    pixels = to_bytes(pictures).permute(0, 2, 3, 1).numpy()
    decoded = np.empty_like(pixels)
    for number, (top, left) in enumerate(phases):
        top, left = min(top, height - 1), min(left, width - 1)
        framed = np.pad(pixels[number], ((top, 0), (left, 0), (0, 0)), mode="reflect")
        data = simplejpeg.encode_jpeg(
            framed, quality=qualities[number], colorspace="RGB", colorsubsampling=_SUBSAMPLINGS[kinds[number]]
        )
        decoded[number] = simplejpeg.decode_jpeg(data, colorspace="RGB")[top:, left:]
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous().float().div_(255)


def to_bytes(pictures: Tensor) -> Tensor:
    """Clip values to 0..1 and convert them to 0..255: uint8 of the same shape."""
    return pictures.clamp(0, 1).mul(255).round_().to(torch.uint8)

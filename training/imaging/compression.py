"""JPEG as real encoders write it: libjpeg-turbo, one picture at a time, at a block grid of random phase."""

import numpy as np
import simplejpeg
import torch
from torch import Generator, Tensor

from training.imaging.draws import choice, uniform

_SUBSAMPLINGS = ("444", "422", "420")
_GRID = 16
"""Pixels of a block of halved colour: the period at which the grid can lie."""


def jpeg_round_trip(pictures: Tensor, quality: tuple[float, float], generator: Generator) -> Tensor:
    """Compress pictures N,3,H,W in 0..1, each at another quality of the span, and decode them again.

    Most cameras and programs halve the colour in one direction or in both; a third of the pictures is 4:4:4. The
    pixels left of and above a picture, which shift the grid of its blocks, mirror its own.
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
    """Values, clipped to 0..1, as the 8 bits of a stored picture: uint8."""
    return pictures.clamp(0, 1).mul(255).round_().to(torch.uint8)

"""Gaussian blur with a separate width for each image, and resampling."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_REACH = 2.5  # radius of the kernel in standard deviations
_LEAST = 0.05  # smallest standard deviation in pixels; a narrower kernel is a single pixel


def blur(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Convolve images N,C,H,W with Gaussians. The border is reflected.

    `sigma` holds the standard deviations in pixels: N,1,1,1, or N,1,1,2 with the vertical and the horizontal one.
    """
    count, channels, height, width = pictures.shape
    vertical, horizontal = sigma[..., 0].flatten(), sigma[..., -1].flatten()
    planes = pictures.reshape(1, count * channels, height, width)
    for sigmas, axis in ((horizontal, 3), (vertical, 2)):
        radius = min(math.ceil(_REACH * float(sigmas.max())), height - 1, width - 1)
        if float(sigmas.max()) <= _LEAST or not radius:
            continue
        kernels = _kernels(sigmas, radius).repeat_interleave(channels, 0).unsqueeze(1).unsqueeze(5 - axis)
        sides = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        planes = F.conv2d(F.pad(planes, sides, mode="reflect"), kernels, groups=count * channels)
    return planes.view_as(pictures)


def unit_deviation(fields: Tensor) -> Tensor:
    """Scale each item of N,C,H,W to a standard deviation of 1."""
    return fields / fields.flatten(1).std(1).clamp(min=1e-6).view(-1, 1, 1, 1)


def _kernels(sigmas: Tensor, radius: int) -> Tensor:
    """Return one-dimensional Gaussians that sum to 1: N, 2 radius + 1."""
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = (-places.square() / (2 * sigmas.clamp(min=_LEAST).view(-1, 1).square())).exp()
    return weights / weights.sum(1, keepdim=True)


def resize(pictures: Tensor, height: int, width: int, *, cubic: bool = True) -> Tensor:
    """Resample images N,C,H,W by bicubic or bilinear interpolation with anti-aliasing."""
    mode = "bicubic" if cubic else "bilinear"
    return F.interpolate(pictures, (height, width), mode=mode, antialias=True)

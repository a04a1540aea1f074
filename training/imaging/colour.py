"""Colour conversions of images N,3,H,W: sRGB and linear light (IEC 61966-2-1), Y'CbCr (JFIF), and tone curves."""

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601), as in the service's conversion from colour to grey."""
_TO_YCC = torch.tensor([[*LUMA], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float32)
_FROM_YCC = torch.linalg.inv(_TO_YCC.double()).float()


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Convert sRGB values in 0..1 to linear light in 0..1 (IEC 61966-2-1)."""
    curve = srgb.add(0.055).div_(1.055).pow_(2.4)
    return torch.where(srgb <= 0.04045, srgb / 12.92, curve)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Convert linear light, clipped to 0..1, to sRGB values in 0..1 (IEC 61966-2-1)."""
    linear = linear.clamp(0, 1)
    curve = linear.pow(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)


def apply_matrix(pictures: Tensor, matrices: Tensor) -> Tensor:
    """Multiply every pixel of images N,3,H,W by a 3x3 matrix: one for all images (3,3) or one per image (N,3,3)."""
    return (matrices @ pictures.flatten(2)).view_as(pictures)


def rgb_to_ycc(rgb: Tensor) -> Tensor:
    """Luma and the two colour differences, these around 0. Linear, so that it serves for noise as well."""
    return apply_matrix(rgb, _TO_YCC)


def ycc_to_rgb(ycc: Tensor) -> Tensor:
    """Invert `rgb_to_ycc`."""
    return apply_matrix(ycc, _FROM_YCC)


def luma(rgb: Tensor) -> Tensor:
    """Return the luma of images ...,3,H,W as ...,1,H,W."""
    red, green, blue = rgb.split(1, dim=-3)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def tone(values: Tensor, contrast: Tensor) -> Tensor:
    """Apply the S-shaped tone curve v^c / (v^c + (1 - v)^c) to values in 0..1. Its inverse is `tone` with 1 / c.

    `contrast` is c, of a shape that broadcasts to `values`; 1 changes nothing. For c = 1.45 the curve is within 0.02 of
    3v^2 - 2v^3, the global tone curve of Brooks et al. (2019), which has no simple inverse for weaker contrasts.
    """
    bright, dark = values.pow(contrast), (1 - values).pow(contrast)
    return bright / dark.add_(bright)

"""Crops the features of a graph instead of its output, so that nothing is computed for pixels that nobody keeps.

Pictures are cut into tiles that overlap by the receptive radius of the net. The last and finest level alone needs much
less, and takes nearly half of the time.
"""

from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


class Crop(NamedTuple):
    """Rows and columns to remove at the sides of an image. In an exported graph, these are symbols."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def from_tensor(cls, sides: Tensor) -> Self:
        """Return the crop of an int64 tensor (4,), of which no value is negative."""
        values = sides.tolist()
        for side in values:
            torch._check(side >= 0)  # noqa: SLF001 - what torch.export documents for the values of tensors
        return cls(*values)

    def in_cells(self, cell: int, reach: int) -> "Crop":
        """Return the cells of `cell` pixels to remove so that those within `reach` pixels of the rest are kept."""
        return Crop(*(cast("int", torch.sym_max(side - reach, 0)) // cell for side in self))

    def scaled(self, factor: int) -> "Crop":
        """Return the crop in units that are smaller by an integer factor."""
        return Crop(*(side * factor for side in self))

    def minus(self, other: "Crop") -> "Crop":
        """Return what is left to remove when another crop was removed. Both have the same unit."""
        return Crop(*(side - removed for side, removed in zip(self, other, strict=True)))


def crop_sides(x: Tensor, crop: Crop) -> Tensor:
    """Remove rows and columns of x (N, C, H, W)."""
    return _window(x, crop, x.shape[2] - crop.top - crop.bottom, x.shape[3] - crop.left - crop.right)


def crop_like(x: Tensor, crop: Crop, other: Tensor) -> Tensor:
    """Remove rows and columns of x (N, C, H, W) at the top and the left, and keep as many as `other` (N, C, h, w) has.

    The symbols of an exported graph then say that both have the same sides, which kernels for sums depend on.
    """
    return _window(x, crop, other.shape[2], other.shape[3])


def _window(x: Tensor, crop: Crop, height: int, width: int) -> Tensor:
    for start, side, limit in ((crop.top, height, x.shape[2]), (crop.left, width, x.shape[3])):
        torch._check(side >= 0)  # noqa: SLF001 - as above
        torch._check(start + side <= limit)  # noqa: SLF001
    return x.narrow(2, crop.top, height).narrow(3, crop.left, width)


def compose_convolutions(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Return one convolution that is equal to two in a row, at the borders too.

    The second one must have no padding, and kernels as large as its stride: it then reads only outputs of the first.
    """
    side = first.kernel_size[0] + second.kernel_size[0] - 1
    composed = nn.Conv2d(
        first.in_channels, second.out_channels, side, stride=second.stride[0], padding=int(first.padding[0])
    )
    with torch.no_grad():
        outer, inner = second.weight.double(), first.weight.double()
        kernels = F.conv2d(inner.transpose(0, 1), outer.flip(2, 3), padding=second.kernel_size[0] - 1)
        composed.weight.copy_(kernels.transpose(0, 1))
        if composed.bias is not None and first.bias is not None and second.bias is not None:
            composed.bias.copy_(outer.sum((2, 3)) @ first.bias.double() + second.bias.double())
    return composed

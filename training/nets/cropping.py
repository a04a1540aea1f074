"""Crops the features of a graph instead of its output, so that nothing is computed for pixels that nobody keeps.

Pictures are cut into tiles that overlap by the receptive radius of the net. The last and finest level alone needs much
less, and takes nearly half of the time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

Crop = tuple[int, int, int, int]
"""Rows or columns to remove at the top, left, bottom and right. In an exported graph, symbols of these numbers."""


def crop_from(tensor: Tensor) -> Crop:
    """Return the values of a tensor, int64 (4,), none of them negative."""
    top, left, bottom, right = tensor.tolist()
    for side in (top, left, bottom, right):
        torch._check(side >= 0)  # noqa: SLF001 - what torch.export documents for the values of tensors
    return top, left, bottom, right


def coarse_cells(crop: Crop, reach: int, cell: int) -> Crop:
    """Return how many cells of `cell` pixels can be removed if pixels within `reach` of those to keep are needed."""
    top, left, bottom, right = (torch.sym_max(side - reach, 0) // cell for side in crop)
    return top, left, bottom, right


def scale_crop(crop: Crop, factor: int) -> Crop:
    """Return the crop in units that are smaller by an integer factor."""
    top, left, bottom, right = (side * factor for side in crop)
    return top, left, bottom, right


def remaining_crop(crop: Crop, removed: Crop) -> Crop:
    """Return what is left to remove of a crop. Both have the same unit."""
    top, left, bottom, right = (side - other for side, other in zip(crop, removed, strict=True))
    return top, left, bottom, right


def crop_sides(x: Tensor, crop: Crop) -> Tensor:
    """Remove rows and columns of x (N, C, H, W)."""
    top, left, bottom, right = crop
    height, width = x.shape[2] - top - bottom, x.shape[3] - left - right
    return _window(x, top, left, (height, width))


def crop_like(x: Tensor, crop: Crop, other: Tensor) -> Tensor:
    """Remove rows and columns of x (N, C, H, W) at the top and the left, and keep as many as `other` (N, C, h, w) has.

    The symbols of an exported graph then say that both have the same sides, which kernels for sums depend on.
    """
    return _window(x, crop[0], crop[1], (other.shape[2], other.shape[3]))


def _window(x: Tensor, top: int, left: int, sides: Sequence[int]) -> Tensor:
    for start, side, limit in ((top, sides[0], x.shape[2]), (left, sides[1], x.shape[3])):
        torch._check(side >= 0)  # noqa: SLF001 - as above
        torch._check(start + side <= limit)  # noqa: SLF001
    return x.narrow(2, top, sides[0]).narrow(3, left, sides[1])


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

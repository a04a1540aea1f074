"""Bayer mosaics, which hold one colour per pixel, and three methods to interpolate the other two colours.

Mosaics are float32 N,1,H,W. `sites` is a boolean mask N,3,H,W: the colour that each pixel of a mosaic holds. All
methods are linear in `mosaic`.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

# Malvar, He and Cutler (2004), figure 2: green at red or blue; red at green in a row of red, and in a column of red;
# red at blue. Blue is the same with the colours exchanged.
_IN_ROW = torch.tensor([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]])
_MALVAR = (
    torch.stack(
        [
            torch.tensor([[0.0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]),
            _IN_ROW,
            _IN_ROW.T,
            torch.tensor(
                [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
            ),
        ]
    ).unsqueeze(1)
    / 8
)


def bayer_sites(pictures: Tensor, generator: Generator) -> Tensor:
    """Draw the phase of the RGGB pattern of each image and return its sites: bool N,3,H,W."""
    count, _, height, width = pictures.shape
    phase = torch.randint(2, (count, 2, 1, 1), generator=generator)
    odd_row = (torch.arange(height).view(1, -1, 1) + phase[:, 0]) % 2 == 1
    odd_column = (torch.arange(width).view(1, 1, -1) + phase[:, 1]) % 2 == 1
    return torch.stack([~odd_row & ~odd_column, odd_row ^ odd_column, odd_row & odd_column], 1)


def sample(pictures: Tensor, sites: Tensor) -> Tensor:
    """Return the mosaic of images N,3,H,W at the given sites: N,1,H,W."""
    return (pictures * sites).sum(1, keepdim=True)


def bilinear(mosaic: Tensor, sites: Tensor) -> Tensor:
    """Interpolate each colour as the mean of its nearest neighbours: N,3,H,W."""
    planes = _framed(mosaic * sites, 1)
    green = planes[:, 1:2]
    crosses = green[:, :, :-2, 1:-1] + green[:, :, 2:, 1:-1] + green[:, :, 1:-1, :-2] + green[:, :, 1:-1, 2:]
    greens = green[:, :, 1:-1, 1:-1] + crosses / 4
    others = planes[:, 0::2]  # red and blue: weights 1 2 1 in both directions, divided by 4
    rows = others[..., :-2] + 2 * others[..., 1:-1] + others[..., 2:]
    others = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return torch.cat([others[:, :1], greens, others[:, 1:]], 1)


def malvar(mosaic: Tensor, sites: Tensor) -> Tensor:
    """Interpolate bilinearly with a Laplacian correction from the other colours: N,3,H,W.

    Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned colour images"
    (ICASSP 2004).
    """
    at_other, in_row, in_column, opposite = F.conv2d(_framed(mosaic, 2), _MALVAR).split(1, 1)
    red, green, blue = sites.split(1, 1)
    red_row = red.any(3, keepdim=True)
    reds = torch.where(red, mosaic, torch.where(blue, opposite, torch.where(red_row, in_row, in_column)))
    blues = torch.where(blue, mosaic, torch.where(red, opposite, torch.where(red_row, in_column, in_row)))
    return torch.cat([reds, torch.where(green, mosaic, at_other), blues], 1)


def edge_directed(mosaic: Tensor, sites: Tensor, guide: Tensor) -> Tensor:
    """Interpolate green along the direction of the smaller gradient, then the colour differences bilinearly: N,3,H,W.

    Hamilton and Adams (US patent 5,629,734, 1997). The directions come from the mosaic `guide`. With a noisy mosaic as
    `guide` and its noise as `mosaic`, the result is the noise of the demosaiced image, including the short strokes
    ("worms") that such methods leave in flat areas.
    """
    across, down = _directional(mosaic, 3), _directional(mosaic, 2)
    across_change, down_change = _change(guide, 3), _change(guide, 2)
    estimate = torch.where(across_change < down_change, across, down)
    green = torch.where(sites[:, 1:2], mosaic, estimate)
    differences = bilinear(mosaic - green, sites)
    return torch.cat([green + differences[:, :1], green, green + differences[:, 2:]], 1)


def _directional(mosaic: Tensor, axis: int) -> Tensor:
    """Return green at red and blue sites from the neighbours along an axis, corrected by the second difference."""
    before2, before, after, after2 = _neighbours(mosaic, axis)
    return (before + after) / 2 + (2 * mosaic - before2 - after2) / 4


def _change(mosaic: Tensor, axis: int) -> Tensor:
    before2, before, after, after2 = _neighbours(mosaic, axis)
    return (before - after).abs() + (2 * mosaic - before2 - after2).abs()


def _neighbours(mosaic: Tensor, axis: int) -> list[Tensor]:
    """Return the pixels two and one before and one and two after each pixel along an axis."""
    length = mosaic.shape[axis]
    framed = F.pad(mosaic, (2, 2, 0, 0) if axis == 3 else (0, 0, 2, 2), mode="reflect")
    return [framed.narrow(axis, start, length) for start in (0, 1, 3, 4)]


def _framed(planes: Tensor, margin: int) -> Tensor:
    """Pad by reflection without repeating the border pixels, which keeps the phase of the pattern."""
    return F.pad(planes, (margin,) * 4, mode="reflect")

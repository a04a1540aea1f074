"""Bayer mosaics: one colour per pixel, and three ways to interpolate the other two. Linear in what is interpolated.

Planes are N,1,H,W; `sites` says which colour each pixel of a mosaic holds, as a boolean N,3,H,W.
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
    """Draw where in its 2x2 cell each picture's RGGB pattern begins."""
    count, _, height, width = pictures.shape
    phase = torch.randint(2, (count, 2, 1, 1), generator=generator)
    odd_row = (torch.arange(height).view(1, -1, 1) + phase[:, 0]) % 2 == 1
    odd_column = (torch.arange(width).view(1, 1, -1) + phase[:, 1]) % 2 == 1
    return torch.stack([~odd_row & ~odd_column, odd_row ^ odd_column, odd_row & odd_column], 1)


def sample(pictures: Tensor, sites: Tensor) -> Tensor:
    """Keep one colour per pixel: N,1,H,W."""
    return (pictures * sites).sum(1, keepdim=True)


def bilinear(mosaic: Tensor, sites: Tensor) -> Tensor:
    """Average the nearest neighbours of each colour: N,3,H,W."""
    planes = _framed(mosaic * sites, 1)
    green = planes[:, 1:2]
    crosses = green[:, :, :-2, 1:-1] + green[:, :, 2:, 1:-1] + green[:, :, 1:-1, :-2] + green[:, :, 1:-1, 2:]
    greens = green[:, :, 1:-1, 1:-1] + crosses / 4
    others = planes[:, 0::2]  # red and blue: weights 1 2 1 in both directions, over 4
    rows = others[..., :-2] + 2 * others[..., 1:-1] + others[..., 2:]
    others = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return torch.cat([others[:, :1], greens, others[:, 1:]], 1)


def malvar(mosaic: Tensor, sites: Tensor) -> Tensor:
    """Correct the bilinear estimate by the other colours' Laplacian (Malvar, He and Cutler, ICASSP 2004): N,3,H,W."""
    at_other, in_row, in_column, opposite = F.conv2d(_framed(mosaic, 2), _MALVAR).split(1, 1)
    red, green, blue = sites.split(1, 1)
    red_row = red.any(3, keepdim=True)
    reds = torch.where(red, mosaic, torch.where(blue, opposite, torch.where(red_row, in_row, in_column)))
    blues = torch.where(blue, mosaic, torch.where(red, opposite, torch.where(red_row, in_column, in_row)))
    return torch.cat([reds, torch.where(green, mosaic, at_other), blues], 1)


def edge_directed(mosaic: Tensor, sites: Tensor, guide: Tensor) -> Tensor:
    """Interpolate green along the direction of the smaller gradient, then the colour differences bilinearly.

    Hamilton and Adams (US patent 5,629,734, 1997). The directions are those of the mosaic `guide`: with the noisy
    mosaic as guide and its noise as `mosaic`, this is the noise of the result, with the short strokes ("worms") that
    such methods draw in flat areas. Returns N,3,H,W.
    """
    across, down = _directional(mosaic, 3), _directional(mosaic, 2)
    across_change, down_change = _change(guide, 3), _change(guide, 2)
    estimate = torch.where(across_change < down_change, across, down)
    green = torch.where(sites[:, 1:2], mosaic, estimate)
    differences = bilinear(mosaic - green, sites)
    return torch.cat([green + differences[:, :1], green, green + differences[:, 2:]], 1)


def _directional(mosaic: Tensor, axis: int) -> Tensor:
    """Green at red and blue sites from the neighbours along an axis, corrected by the second difference there."""
    before2, before, after, after2 = _neighbours(mosaic, axis)
    return (before + after) / 2 + (2 * mosaic - before2 - after2) / 4


def _change(mosaic: Tensor, axis: int) -> Tensor:
    before2, before, after, after2 = _neighbours(mosaic, axis)
    return (before - after).abs() + (2 * mosaic - before2 - after2).abs()


def _neighbours(mosaic: Tensor, axis: int) -> list[Tensor]:
    """The pixels two and one before, one and two after, along an axis."""
    length = mosaic.shape[axis]
    framed = F.pad(mosaic, (2, 2, 0, 0) if axis == 3 else (0, 0, 2, 2), mode="reflect")
    return [framed.narrow(axis, start, length) for start in (0, 1, 3, 4)]


def _framed(planes: Tensor, margin: int) -> Tensor:
    """Reflect the border without repeating its pixels, which keeps the pattern's phase."""
    return F.pad(planes, (margin,) * 4, mode="reflect")

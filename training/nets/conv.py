"""Convolutional nets: plain 3x3 convolutions in residual blocks, on pixels folded into channels.

No normalisation, no gating, no global operation: cheap on a CPU, and what lies far away in a picture cannot matter.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

import torch
from annotated_types import Len
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.nets.base import Autoencoder, ForwardResult, NetSection, Operation, Shape


class Block(nn.Module):
    """x + conv(relu(conv(x))); the second starts at zero, so that a fresh block is the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


def pixel_unshuffle(x: Tensor, side: int) -> Tensor:
    """N,C,H,W -> N,side*side*C,H/side,W/side: each square of pixels becomes the channels of one, row by row.

    Written with the channels last, where it moves whole pixels, and only rows of squares; onnxruntime keeps it so.
    """
    count, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(count, height // side, side, width // side, side * channels)
    return rows.transpose(2, 3).reshape(count, height // side, width // side, side**2 * channels).permute(0, 3, 1, 2)


def pixel_shuffle(x: Tensor, side: int) -> Tensor:
    """The way back from `pixel_unshuffle`."""
    count, channels, height, width = x.shape
    squares = x.permute(0, 2, 3, 1).reshape(count, height, width, side, channels // side)
    return squares.transpose(2, 3).reshape(count, height * side, width * side, channels // side**2).permute(0, 3, 1, 2)


class Conv(Autoencoder):
    """Levels of residual blocks, each half the size of the one before, down to the code and up again.

    With skips each level of the way up adds what the way down saw. Then the code alone does not decode, nor does it
    where pictures of any size are cut back after padding: such nets offer whole passes only.
    """

    def __init__(self, section: "ConvSection", shape: Shape) -> None:
        channels, height, width = shape
        self.total_stride = section.unshuffle * 2 ** (
            len(section.widths) - 1
        )  # pixels along the side of one cell of the code
        sides = (None, None) if section.any_size else (-(-height // self.total_stride), -(-width // self.total_stride))
        super().__init__(shape, (section.code, *sides), sigmoid=section.output == "sigmoid")
        self.any_size, self.skips, self.unshuffle = section.any_size, section.skips, section.unshuffle
        if self.any_size:
            self.stride, self.receptive_radius = self.total_stride, _radius(section)
        self.residual = section.residual
        folded, widths, blocks = channels * section.unshuffle**2, section.widths, section.per_level
        self.head = nn.Conv2d(folded, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(width, count) for width, (count, _) in zip(widths, blocks, strict=True))
        self.downsample = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.to_code = nn.Conv2d(widths[-1], section.code, 1)
        self.from_code = nn.Conv2d(section.code, widths[-1], 1)
        self.upsample = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_blocks(width, count) for width, (_, count) in zip(widths, blocks, strict=True))
        self.tail = nn.Conv2d(widths[0], folded, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - trains 1.5 times as fast on a CPU

    def encode(self, x: Tensor) -> Tensor:
        """N,C,H,W -> N,code,H/cell,W/cell, sides rounded up."""
        return self._encode_levels(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """N,code,h,w -> N,C,H,W, raw; only for nets without skips."""
        return self._decode_levels(code, [])[:, :, : self.shape[1], : self.shape[2]]

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - it draws nothing
        code, seen = self._encode_levels(x)
        output = self._decode_levels(code, seen if self.skips else [])[:, :, : x.shape[2], : x.shape[3]]
        return ForwardResult(x - output.float() if self.residual else output, code)

    def _encode_levels(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The code, and what each level but the last saw, finest first."""
        seen: list[Tensor] = []
        x = self.head(pixel_unshuffle(self._pad(x), self.unshuffle))
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.downsample):
                seen.append(x)
                x = self.downsample[level](x)
        return self.to_code(x), seen

    def _decode_levels(self, code: Tensor, seen: list[Tensor]) -> Tensor:
        x = self.up[-1](self.from_code(code))
        for level in reversed(range(len(self.upsample))):
            x = _ort_layout_hint(pixel_shuffle(self.upsample[level](x), 2))
            x = self.up[level](x + seen[level] if seen else x)
        return pixel_shuffle(self.tail(x), self.unshuffle)

    def _pad(self, x: Tensor) -> Tensor:
        """To whole cells at the right and the bottom, by the edge's pixels."""
        # Written (c - H % c) % c because the exporter cannot follow -H % c where H is free.
        bottom, right = ((self.total_stride - side % self.total_stride) % self.total_stride for side in x.shape[2:])
        if not self.any_size and not bottom and not right:
            return x
        return F.pad(x, (0, right, 0, bottom), mode="replicate")


def _ort_layout_hint(x: Tensor) -> Tensor:
    """The same. In a graph a pool of single pixels, after which onnxruntime goes on in blocks of channels.

    Without it the additions that follow, and what they need of the way down, were carried out in the plain order: it
    took an eighth longer.
    """
    return F.max_pool2d(x, 1) if torch.compiler.is_exporting() else x


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


def _radius(section: "ConvSection") -> int:
    """Pixels. Every 3x3 convolution reaches one cell of its level further; cells nest, which costs one cell less 1."""
    cells = [section.unshuffle * 2**level for level in range(len(section.widths))]
    reach = sum(2 * sum(counts) * cell for counts, cell in zip(section.per_level, cells, strict=True))
    return reach + 2 * cells[0] + cells[-1] - 1


class ConvSection(NetSection):
    """`family = "conv"`."""

    family: Literal["conv"] = "conv"
    widths: Annotated[list[PositiveInt], Len(min_length=1)]
    """Channels of each level, finest first; each level has half the height and width of the one before."""
    code: PositiveInt
    """Channels of the code, at the size of the coarsest level."""
    blocks: PositiveInt | list[Annotated[list[NonNegativeInt], Len(2, 2)]] = 1
    """Residual blocks a level has on each way; or for every level, finest first, [on the way down, on the way up]."""
    unshuffle: Literal[1, 2, 4] = 2
    """Side of the square of pixels that is folded into channels first: most of the speed, at little loss."""
    skips: bool = False
    """Add each level of the way down to the way up: better pictures, but no code that decodes."""
    any_size: bool = False
    """Take pictures of any size, not only the data's."""
    residual: bool = False
    """Let the net say what to take away from its input (Zhang et al. 2017), so that a clean picture needs nothing."""

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if isinstance(self.blocks, list) and len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks has {len(self.blocks)} levels and widths has {len(self.widths)}")
        if self.residual and not (self.skips and self.output == "linear"):
            raise ValueError("residual needs skips = true and output = 'linear'")
        return self

    @property
    def per_level(self) -> list[tuple[int, int]]:
        """Residual blocks of every level, finest first: on the way down, on the way up."""
        if isinstance(self.blocks, int):
            return [(self.blocks, self.blocks)] * len(self.widths)
        return [(down, up) for down, up in self.blocks]

    @property
    def operations(self) -> tuple[Operation, ...]:
        return ("reconstruct", "denoise") if self.skips or self.any_size else super().operations

    def build(self, shape: Shape) -> Conv:
        if len(shape) != 3:
            raise RecipeError("the conv family takes pictures, not vectors: choose family = 'dense'")
        return Conv(self, shape)

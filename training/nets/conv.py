"""Convolutional autoencoders: 3x3 convolutions in residual blocks, on pixels rearranged into channels.

There is no normalisation, no gating and no global operation. The networks are cheap on a CPU, and their receptive field
is bounded, so that large pictures can be processed in tiles.
"""

from copy import deepcopy
from itertools import pairwise
from typing import Annotated, Literal, Self, cast

import torch
from annotated_types import Len
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.nets.base import Autoencoder, ForwardResult, NetSection, Operation, Shape
from training.nets.cropping import Crop, compose_convolutions, crop_like, crop_sides
from training.nets.noise_control import MAX_STRENGTH, Modulation, NoiseEstimate, draw_strengths


class Block(nn.Module):
    """Residual block x + conv(relu(conv(x))) without normalisation, as in EDSR (Lim et al., CVPRW 2017).

    The weights of the second convolution start at zero, so that a new block is close to the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to float (N, width, H, W); the shape is kept."""
        return x + self.second(F.relu(self.first(x)))


def pixel_unshuffle(x: Tensor, side: int) -> Tensor:
    """Rearrange (N, C, H, W) to (N, side * side * C, H / side, W / side): squares of pixels become channels.

    The channels of a square are ordered by row, column and channel; `torch.nn.functional.pixel_unshuffle` orders them
    by channel first. In this order and with channels last, whole rows of a square are contiguous and are moved at once,
    in PyTorch as in onnxruntime.
    """
    count, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(count, height // side, side, width // side, side * channels)
    return rows.transpose(2, 3).reshape(count, height // side, width // side, side**2 * channels).permute(0, 3, 1, 2)


def pixel_shuffle(x: Tensor, side: int) -> Tensor:
    """Invert `pixel_unshuffle` (sub-pixel convolution, Shi et al., CVPR 2016)."""
    count, channels, height, width = x.shape
    squares = x.permute(0, 2, 3, 1).reshape(count, height, width, side, channels // side)
    return squares.transpose(2, 3).reshape(count, height * side, width * side, channels // side**2).permute(0, 3, 1, 2)


class Conv(Autoencoder):
    """Convolutional autoencoder with levels of residual blocks, each level half the size of the one before.

    With skip connections (U-Net, Ronneberger et al., MICCAI 2015), each level of the decoder adds the features of the
    same level of the encoder. The code alone then does not determine the output. Nor does it for pictures of any size,
    whose output is cropped to the input. Such networks only support `reconstruct` and `denoise`.
    """

    def __init__(self, section: "ConvSection", shape: Shape) -> None:
        channels, height, width = shape
        levels = len(section.widths)
        self.total_stride = section.unshuffle * 2 ** (levels - 1)  # side in pixels of the cell of one code position
        sides = (None, None) if section.any_size else (-(-height // self.total_stride), -(-width // self.total_stride))
        super().__init__(shape, (section.code, *sides), sigmoid=section.has_sigmoid(shape))
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
        self.stem: nn.Conv2d | None = None
        # Of a pixel in the finest level of the decoder: 2 cells per block, and 1 each for the head and the tail.
        self.finest_reach = (2 * blocks[0][1] + 2) * section.unshuffle
        self.has_finest_features = blocks[0][0] > 0
        self.noise_control = section.noise_control
        if section.noise_control:
            self.max_strength, self.added_parts = MAX_STRENGTH, ("noise_estimate", "modulation")
            self.noise_estimate = NoiseEstimate(section.code)
            # Of upsampled features, before the pixels of a square are separated: afterwards onnxruntime would convert
            # them to the plain layout and back, which took a twentieth longer.
            fine = [Modulation(width, squares=4) for width in widths[:-1]]
            self.modulation = nn.ModuleList([*fine, Modulation(widths[-1])])
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - trains 1.5 times as fast on a CPU

    def encode(self, x: Tensor) -> Tensor:
        """Encode pictures (N, C, H, W) as codes (N, code, H / total_stride, W / total_stride), sides rounded up."""
        return self._encode_levels(self._pad(x))[0]

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes (N, code, h, w) to raw outputs (N, C, H, W). Only for networks without skip connections."""
        return self._decode_levels(code, [])[:, :, : self.shape[1], : self.shape[2]]

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:
        """Encode and decode pictures (N, C, H, W). With `residual`, the output is the input minus the prediction.

        With `noise_control`, a part of the pictures is denoised with a drawn strength during training.
        """
        if not (self.noise_control and self.training and generator):
            return self._forward(x, None)
        return self._forward(x, draw_strengths(len(x), generator, every=not self.head.weight.requires_grad))

    def denoise(self, x: Tensor, strength: Tensor | None = None, crop: Tensor | None = None) -> ForwardResult:
        """Denoise pictures (N, C, H, W) with a strength for each, (N,), from 1 to `max_strength`.

        `crop`, int64 (4,), are the pixels of the output to leave out at its top, left, bottom and right.
        """
        sides = None if crop is None else Crop.from_tensor(crop)
        return self._forward(x, strength if self.noise_control else None, sides)

    def for_inference(self) -> "Conv":
        """Return a copy in which the head and the first downsampling are one convolution, if nothing is between them.

        The features of the finest level are then computed where they are added, and need no memory until then.
        """
        net = deepcopy(self)
        if len(self.downsample) > 0 and not self.has_finest_features:
            net.stem = compose_convolutions(self.head, cast("nn.Conv2d", self.downsample[0]))
        return net

    def _forward(self, x: Tensor, strength: Tensor | None, crop: Crop | None = None) -> ForwardResult:
        padded = self._pad(x)
        code, features = self._encode_levels(padded)
        features = features if self.skips else []
        amount = None if strength is None else strength - 1
        if crop is None:
            raw = self._decode_levels(code, features, amount)[:, :, : x.shape[2], : x.shape[3]]
        else:
            bottom = crop.bottom + padded.shape[2] - x.shape[2]
            right = crop.right + padded.shape[3] - x.shape[3]
            raw = self._decode_cropped(code, features, amount, crop._replace(bottom=bottom, right=right))
            x = crop_like(x, crop, raw)
        output = x - raw.float() if self.residual else raw
        variance = self.noise_estimate(code) if self.noise_control else None
        return ForwardResult(output, code, noise_variance=variance, strength=strength)

    def _encode_levels(self, padded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the code and the features of each level but the last, finest first.

        With a `stem`, the first of them are the input of the head.
        """
        folded = pixel_unshuffle(padded, self.unshuffle)
        features: list[Tensor] = []
        x = folded if self.stem else self.head(folded)
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.downsample):
                features.append(x)
                x = self.stem(x) if self.stem and level == 0 else self.downsample[level](x)
        return self.to_code(x), features

    def _decode_cropped(self, code: Tensor, features: list[Tensor], amount: Tensor | None, crop: Crop) -> Tensor:
        """Return raw outputs without the pixels of `crop`. The finest level is computed for little more than these."""
        if not self.upsample:
            return crop_sides(self._decode_levels(code, features, amount), crop)
        cell = 2 * self.unshuffle
        cells = crop.in_cells(cell, self.finest_reach)
        return crop_sides(self._decode_levels(code, features, amount, cells), crop.minus(cells.scaled(cell)))

    def _decode_levels(
        self, code: Tensor, features: list[Tensor], amount: Tensor | None = None, crop: Crop | None = None
    ) -> Tensor:
        """Return raw outputs at the padded size; `features`, if any, are added level by level.

        `amount` (N,) is how far to modulate the features of each level. `crop` are cells of the second finest level
        that are removed before the finest one.
        """
        x = self.up[-1](self._modulate(self.from_code(code), -1, amount))
        for level in reversed(range(len(self.upsample))):
            if crop and level == 0:
                x = crop_sides(x, crop)
            x = self._modulate(self.upsample[level](x), level, amount)
            x = _ort_layout_hint(pixel_shuffle(x, 2))
            if features:
                added = crop_like(features[0], crop.scaled(2), x) if crop and level == 0 else features[level]
                x = x + (self.head(added) if self.stem and level == 0 else added)
            x = self.up[level](x)
        return pixel_shuffle(self.tail(x), self.unshuffle)

    def _modulate(self, x: Tensor, level: int, amount: Tensor | None) -> Tensor:
        if amount is None:
            return x
        return self.modulation[level](x.permute(0, 2, 3, 1), amount).permute(0, 3, 1, 2)

    def _pad(self, x: Tensor) -> Tensor:
        """Pad at the right and the bottom to a multiple of `total_stride` by repeating the edge pixels."""
        # (c - H % c) % c instead of -H % c, which torch.export does not support for a dynamic H.
        bottom, right = ((self.total_stride - side % self.total_stride) % self.total_stride for side in x.shape[2:])
        if not self.any_size and not bottom and not right:
            return x
        return F.pad(x, (0, right, 0, bottom), mode="replicate")


def _ort_layout_hint(x: Tensor) -> Tensor:
    """Return `x`. In an exported graph, a 1x1 max pool after which onnxruntime keeps its blocked (NCHWc) layout.

    Without it, onnxruntime converts the following additions and the features of the encoder to the plain layout, which
    took an eighth longer.
    """
    return F.max_pool2d(x, 1) if torch.compiler.is_exporting() else x


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


def _radius(section: "ConvSection") -> int:
    """Return the receptive radius in pixels.

    Each 3x3 convolution adds one cell of its level: two per block, and the head and the tail at the finest level. An
    output pixel may lie anywhere in a cell of the coarsest level, which adds the side of that cell minus 1.
    """
    cells = [section.unshuffle * 2**level for level in range(len(section.widths))]
    reach = sum(2 * sum(counts) * cell for counts, cell in zip(section.per_level, cells, strict=True))
    return reach + 2 * cells[0] + cells[-1] - 1


class ConvSection(NetSection):
    """The `[net]` table of a convolutional autoencoder, `family = "conv"`."""

    family: Literal["conv"] = "conv"
    widths: Annotated[list[PositiveInt], Len(min_length=1)] = Field(default=[16, 32, 48])
    """Channels of each level, finest first. Each level has half the height and width of the one before."""
    code: PositiveInt = 16
    """Channels of the code, which has the size of the coarsest level."""
    blocks: PositiveInt | list[Annotated[list[NonNegativeInt], Len(2, 2)]] = 1
    """Residual blocks per level of encoder and decoder; or [encoder, decoder] of each level, finest first."""
    unshuffle: Literal[1, 2, 4] = 2
    """Side of the squares of pixels that become channels of the first level. Larger squares are faster."""
    skips: bool = False
    """Add each level of the way down to the way up: better pictures, but no code that decodes."""
    any_size: bool = False
    """Accept pictures of any size, not only the size of the training data."""
    residual: bool = False
    """Predict the noise to subtract from the input (DnCNN, Zhang et al. 2017) instead of the clean picture."""
    noise_control: bool = False
    """Estimate the noise, and take a strength of denoising from 1 to 2. `[objective.penalties]` must train both by
    `noise_estimate` and `smoothness`."""

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if isinstance(self.blocks, list) and len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks has {len(self.blocks)} levels, but widths has {len(self.widths)}")
        if self.residual and not (self.skips and self.output == "linear"):
            raise ValueError("residual needs skips = true and output = 'linear'")
        if self.noise_control and not self.any_size:
            raise ValueError("noise_control needs any_size = true")
        return self

    @property
    def per_level(self) -> list[tuple[int, int]]:
        """Residual blocks (encoder, decoder) of each level, finest first."""
        if isinstance(self.blocks, int):
            return [(self.blocks, self.blocks)] * len(self.widths)
        return [(down, up) for down, up in self.blocks]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Operations that a network of this section supports."""
        return ("reconstruct", "denoise") if self.skips or self.any_size else super().operations

    def build(self, shape: Shape) -> Conv:
        """Return a convolutional autoencoder with new weights for pictures (C, H, W).

        Raises:
            RecipeError: The items are vectors.
        """
        if len(shape) != 3:
            raise RecipeError("net.family = 'conv' takes pictures, not vectors: choose net.family = 'dense'")
        return Conv(self, shape)

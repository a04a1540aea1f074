"""Convolutional winner-take-all nets: stroke detectors that learn by drawing a picture with a few stamps each.

After Makhzani and Frey, Winner-Take-All Autoencoders (2015). The code is what a classifier wants, the strongest
response of every map within each cell; only its winners are drawn with, one cell a map and few maps a picture.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import PositiveInt
from torch import Generator, Tensor, nn

from training.errors import RecipeError
from training.nets.base import Autoencoder, ForwardResult, NetSection, Shape
from training.nets.sparsity import lifetime_threshold
from training.schema import Fraction

KERNEL_MARGIN = 4
"""Pixels by which a stamp reaches over its cell at each side."""
THRESHOLD_SHARE = 0.5
"""Share of what a winner must reach up to which a response counts as none."""
EMA_RATE = 0.02
"""Share that a batch has in the running mean of what a winner must reach."""


class WinnerTakeAll(Autoencoder):
    """Convolutions with relu; of each cell the maximum, as far as it is above the floor: the code. Then the winners,
    and one stamp a map, laid down at the winner's cell and added.

    While training, a map wins in the `lifetime_sparsity` share of the batch where it is strongest. Afterwards, where it
    reaches what that took on average, so that an item's answer does not depend on the batch.
    """

    thresholds: Tensor

    def __init__(self, section: "WinnerTakeAllSection", shape: Shape) -> None:
        channels, height, width = shape
        cell, maps = section.cell, section.maps[-1]
        super().__init__(shape, (maps, -(-height // cell), -(-width // cell)), sigmoid=section.output == "sigmoid")
        detectors: list[nn.Module] = []
        for before, after in zip([channels, *section.maps], section.maps, strict=False):
            detectors += [nn.Conv2d(before, after, section.kernel, padding=section.kernel // 2), nn.ReLU()]
        self.detectors = nn.Sequential(*detectors)
        self.pool = nn.MaxPool2d(cell, ceil_mode=True)
        self.kernels = nn.ConvTranspose2d(maps, channels, cell + 2 * KERNEL_MARGIN, stride=cell, padding=KERNEL_MARGIN)
        nn.init.zeros_(self.kernels.weight)  # random ones would drive a third of the maps below 0, where relu ends them
        self.lifetime_sparsity = section.lifetime_sparsity
        self.register_buffer("thresholds", torch.zeros(maps))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - as for the conv family

    def encode(self, x: Tensor) -> Tensor:
        """N,C,H,W -> N,maps,H/cell,W/cell, sides rounded up; none is negative, most are 0."""
        return self._subtract_threshold(self.pool(self.detectors(x)))

    def decode(self, code: Tensor) -> Tensor:
        """N,maps,h,w -> N,C,H,W, raw, drawn with the winners alone."""
        return self._decode_winners(code, self.thresholds)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - it draws nothing
        responses, least = self.pool(self.detectors(x)), self.thresholds
        if self.training and self.lifetime_sparsity:
            least = lifetime_threshold(responses.amax((2, 3)), self.lifetime_sparsity).to(self.thresholds.dtype)
            with torch.no_grad():
                self.thresholds.lerp_(least, EMA_RATE)
        code = self._subtract_threshold(responses)
        return ForwardResult(self._decode_winners(code, least), code)

    def keep_winners(self, code: Tensor, least: Tensor) -> Tensor:
        """The code with 0 everywhere but in the strongest cell of each map, if its response reached the map's least."""
        strongest = code.amax((2, 3), keepdim=True)
        wins = (code >= strongest) & (strongest >= (least - THRESHOLD_SHARE * self.thresholds)[:, None, None])
        return code * wins.to(code.dtype)

    def _subtract_threshold(self, responses: Tensor) -> Tensor:
        return torch.relu(responses - THRESHOLD_SHARE * self.thresholds[:, None, None])

    def _decode_winners(self, code: Tensor, least: Tensor) -> Tensor:
        drawn = self.kernels(self.keep_winners(code, least))
        return drawn[:, :, : self.shape[1], : self.shape[2]]


class WinnerTakeAllSection(NetSection):
    """`family = "winner-take-all"`."""

    family: Literal["winner-take-all"] = "winner-take-all"
    maps: Annotated[list[PositiveInt], Len(min_length=1)]
    """Maps of each layer of detectors; the last are those of the code, each with one stamp."""
    kernel: Literal[3, 5, 7, 9, 11] = 5
    """Side of a detector, pixels."""
    cell: PositiveInt = 4
    """Side of the squares of pixels within which the code keeps only the strongest response, not where it was."""
    lifetime_sparsity: Fraction = 0.05
    """The share of the pictures for which a map is to win; 0: always."""

    def build(self, shape: Shape) -> WinnerTakeAll:
        if len(shape) != 3:
            raise RecipeError("family = 'winner-take-all' takes pictures, not vectors: choose family = 'dense'")
        return WinnerTakeAll(self, shape)

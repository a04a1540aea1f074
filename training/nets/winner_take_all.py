"""Convolutional winner-take-all autoencoders: each feature map reconstructs a picture with one kernel at one position.

After Makhzani and Frey, "Winner-take-all autoencoders" (NIPS 2015). The code is the max-pooled response of every map.
The decoder only uses the winners: the strongest cell of each map (spatial sparsity), and each map only for a fraction
of the pictures (lifetime sparsity).
"""

from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from training.errors import RecipeError
from training.nets.base import Autoencoder, ForwardResult, NetSection, Shape
from training.nets.sparsity import lifetime_threshold
from training.schema import Fraction

KERNEL_MARGIN = 4
"""Pixels by which a decoder kernel extends beyond its cell at each side."""
THRESHOLD_SHARE = 0.5
"""Fraction of a map's threshold that is subtracted from its responses; smaller responses become 0."""
EMA_RATE = 0.02
"""Weight of the current batch in the moving average of the thresholds."""


class WinnerTakeAll(Autoencoder):
    """Convolutional encoder with max pooling, and a decoder of one transposed convolution on the winners.

    In training mode, a map wins in the `lifetime_sparsity` fraction of the batch where its response is largest. In eval
    mode it wins where its response reaches the moving average of that limit, so that the output for an item does not
    depend on the batch.
    """

    thresholds: Tensor
    """Moving average of the smallest winning response of each map, (maps,)."""

    def __init__(self, section: "WinnerTakeAllSection", shape: Shape) -> None:
        channels, height, width = shape
        cell, maps = section.cell, section.maps[-1]
        super().__init__(shape, (maps, -(-height // cell), -(-width // cell)), sigmoid=section.has_sigmoid(shape))
        detectors: list[nn.Module] = []
        for before, after in zip([channels, *section.maps], section.maps, strict=False):
            detectors += [nn.Conv2d(before, after, section.kernel, padding=section.kernel // 2), nn.ReLU()]
        self.detectors = nn.Sequential(*detectors)
        self.pool = nn.MaxPool2d(cell, ceil_mode=True)
        self.kernels = nn.ConvTranspose2d(maps, channels, cell + 2 * KERNEL_MARGIN, stride=cell, padding=KERNEL_MARGIN)
        nn.init.zeros_(self.kernels.weight)  # random kernels would push a third of the maps below 0, where ReLU is flat
        self.lifetime_sparsity = section.lifetime_sparsity
        self.register_buffer("thresholds", torch.zeros(maps))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - faster on a CPU

    def encode(self, x: Tensor) -> Tensor:
        """Encode pictures (N, C, H, W) as non-negative codes (N, maps, H / cell, W / cell), sides rounded up."""
        return self._subtract_threshold(self.pool(self.detectors(x)))

    def decode(self, code: Tensor) -> Tensor:
        """Decode the winners of codes (N, maps, h, w) to raw outputs (N, C, H, W)."""
        return self._decode_winners(code, self.thresholds)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - nothing is sampled
        """Encode and decode pictures (N, C, H, W). In training mode, the thresholds follow the batch."""
        responses, thresholds = self.pool(self.detectors(x)), self.thresholds
        if self.training and self.lifetime_sparsity:
            thresholds = lifetime_threshold(responses.amax((2, 3)), self.lifetime_sparsity).to(self.thresholds.dtype)
            with torch.no_grad():
                self.thresholds.lerp_(thresholds, EMA_RATE)
        code = self._subtract_threshold(responses)
        return ForwardResult(self._decode_winners(code, thresholds), code)

    def keep_winners(self, code: Tensor, thresholds: Tensor) -> Tensor:
        """Keep the strongest cell of each map if its response reaches the map's threshold; set the rest to 0.

        `code` is (N, maps, h, w), `thresholds` (maps,) on the scale of the responses before subtraction.
        """
        strongest = code.amax((2, 3), keepdim=True)
        wins = (code >= strongest) & (strongest >= (thresholds - THRESHOLD_SHARE * self.thresholds)[:, None, None])
        return code * wins.to(code.dtype)

    def _subtract_threshold(self, responses: Tensor) -> Tensor:
        """Return the code of pooled responses (N, maps, h, w)."""
        return torch.relu(responses - THRESHOLD_SHARE * self.thresholds[:, None, None])

    def _decode_winners(self, code: Tensor, thresholds: Tensor) -> Tensor:
        """Return raw outputs, cropped to the size of the pictures."""
        output = self.kernels(self.keep_winners(code, thresholds))
        return output[:, :, : self.shape[1], : self.shape[2]]


class WinnerTakeAllSection(NetSection):
    """The `[net]` table of a winner-take-all autoencoder, `family = "winner-take-all"`."""

    family: Literal["winner-take-all"] = "winner-take-all"
    maps: Annotated[list[PositiveInt], Len(min_length=1)] = Field(default=[32, 64])
    """Feature maps of each convolution of the encoder. The last ones form the code."""
    kernel: Literal[3, 5, 7, 9, 11] = 5
    """Side of the encoder's kernels in pixels."""
    cell: PositiveInt = 4
    """Side in pixels of the max pooling: the code keeps the strongest response of each cell."""
    lifetime_sparsity: Fraction = 0.05
    """Fraction of the pictures for which each map wins. 0 lets it win for all."""

    def build(self, shape: Shape) -> WinnerTakeAll:
        """Return a winner-take-all autoencoder with new weights for pictures (C, H, W).

        Raises:
            RecipeError: The items are vectors.
        """
        if len(shape) != 3:
            raise RecipeError("net.family = 'winner-take-all' takes pictures, not vectors: choose net.family = 'dense'")
        return WinnerTakeAll(self, shape)

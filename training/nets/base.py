"""What every family says of itself: its table of the recipe, encode and decode, and what it can offer.

Shapes have N first. Pictures are float32 N,C,H,W in 0..1 (the graphs turn uint8 N,H,W,C into that), vectors N,F.
Nets know no corruption and no loss. Without a generator and in `eval` the same item always gives the same output,
whatever lies beside it in the batch; a net may draw from a generator that it is given, and look around while training.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from training.schema import StrictModel

Shape = tuple[int, ...]
Operation = Literal["encode", "decode", "reconstruct", "denoise"]
OPERATIONS: tuple[Operation, ...] = ("encode", "decode", "reconstruct", "denoise")


class ForwardResult(NamedTuple):
    """One pass: the raw output (before `activate_output`), N and the item's shape, and the code it went through.

    `log_variance`: where the code is a normal distribution, the logarithm of its variance; `code` is then its mean.
    `samples`: the codes drawn of it, if any, all items' first draws before their second; `output` is then of each draw.
    `code_nll`: where the net knows how probable its codes are, minus the logarithm of that, one number for each item.
    """

    output: Tensor
    code: Tensor
    log_variance: Tensor | None = None
    samples: Tensor | None = None
    code_nll: Tensor | None = None

    def in_float32(self) -> "ForwardResult":
        """The same in float32, whatever precision it was computed in."""
        return ForwardResult._make(None if part is None else part.float() for part in self)


class Autoencoder(nn.Module, ABC):
    """A net with a code in the middle. `code_shape`: of one code; None where it follows the picture's size.

    A net for pictures of any size states `receptive_radius` and `stride` in pixels: an output pixel depends on no input
    further away than the radius, and shifting the input by a multiple of the stride shifts the output.
    """

    any_size: bool = False
    receptive_radius: int | None = None
    stride: int | None = None

    def __init__(self, shape: Shape, code_shape: tuple[int | None, ...], *, sigmoid: bool) -> None:
        """`shape`: of one item, (C, H, W) or (F,)."""
        super().__init__()
        self.shape = shape
        self.code_shape = code_shape
        self.sigmoid = sigmoid

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Items to codes."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Codes to raw outputs of the items' shape: logits where `sigmoid`, else the values themselves."""

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - for nets that draw
        """The whole way, keeping the code for the penalties."""
        code = self.encode(x)
        return ForwardResult(self.decode(code), code)

    def forward(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`, raw."""
        return self.forward_with_code(x).output

    def init_from_data(self, items: Tensor) -> None:
        """Takes from the training items what the net keeps of them, once, before the first step: nothing, for most."""

    def normalize(self, x: Tensor) -> Tensor:
        """Items on the scale that losses compare: as they are, for most."""
        return x

    def activate_output(self, output: Tensor) -> Tensor:
        """Raw outputs as values on the scale of the data."""
        return torch.sigmoid(output) if self.sigmoid else output

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class NetSection(StrictModel, ABC):
    """The `[net]` table of a family; each adds `family`, its name in NETS."""

    output: Literal["sigmoid", "linear"] = "sigmoid"
    """What the last layer's numbers go through: `sigmoid` for values in 0..1, `linear` for any."""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What such a net can offer."""
        return OPERATIONS

    @abstractmethod
    def build(self, shape: Shape) -> Autoencoder:
        """The net for items of `shape`, with fresh weights. Raises RecipeError where they don't fit."""


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
Activation = Literal["linear", "relu", "gelu", "tanh", "sigmoid"]
"""The names in ACTIVATIONS; a test holds the two together."""

"""Dense nets: under- and overcomplete, shallow and deep, linear and not; pictures are flattened inside."""

from itertools import pairwise
from math import prod
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from training.nets.base import ACTIVATIONS, Activation, Autoencoder, NetSection, Shape


class Dense(Autoencoder):
    """features -> hidden -> code -> hidden reversed -> features; each layer affine, then its activation."""

    def __init__(self, section: "DenseSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        widths = [prod(shape), *section.hidden, section.code]
        self.encoder = nn.Sequential(
            nn.Flatten(), *_layers(widths, section.activation), ACTIVATIONS[section.code_activation]()
        )
        self.decoder = nn.Sequential(*_layers(widths[::-1], section.activation), nn.Unflatten(1, shape))

    def encode(self, x: Tensor) -> Tensor:
        """N and the item's shape -> N,code."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """N,code -> N and the item's shape, raw."""
        return self.decoder(code)


def _layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Affine maps through the widths, the activation between them but not after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return layers[:-1]


class DenseSection(NetSection):
    """`family = "dense"`."""

    family: Literal["dense"] = "dense"
    code: PositiveInt
    """Numbers in the code; more than the input has makes the net overcomplete."""
    hidden: list[PositiveInt] = Field(default_factory=list)
    """Widths between the input and the code; the decoder has them in reverse."""
    activation: Activation = "relu"
    """After each hidden layer."""
    code_activation: Activation = "linear"
    """After the code's layer."""

    def build(self, shape: Shape) -> Dense:
        return Dense(self, shape)

"""Dense nets: under- and overcomplete, shallow and deep, linear and not; pictures are flattened inside."""

from itertools import pairwise
from math import prod
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from training.errors import RecipeError
from training.nets.base import ACTIVATIONS, Activation, Autoencoder, NetSection, Pass, Shape
from training.nets.sparsity import lifetime, strongest
from training.schema import Share


class Dense(Autoencoder):
    """features -> hidden -> code -> hidden reversed -> features; each layer affine, then its activation."""

    low: Tensor
    span: Tensor

    def __init__(self, section: "DenseSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        widths = [prod(shape), *section.hidden, section.code]
        self.encoder = nn.Sequential(
            nn.Flatten(), *layers(widths, section.activation), ACTIVATIONS[section.code_activation]()
        )
        self.decoder = nn.Sequential(*layers(widths[::-1], section.activation), nn.Unflatten(1, shape))
        self.active, self.lifetime, self.ranged = section.active, section.lifetime, section.units == "range"
        if self.ranged:
            self.register_buffer("low", torch.zeros(shape))
            self.register_buffer("span", torch.ones(shape))

    def encode(self, x: Tensor) -> Tensor:
        """N and the item's shape -> N,code."""
        code = self.encoder(self.units(x))
        return strongest(code, self.active) if self.active else code

    def decode(self, code: Tensor) -> Tensor:
        """N,code -> N and the item's shape, raw."""
        return self.decoder(code)

    def through(self, x: Tensor, generator: Generator | None = None) -> Pass:  # noqa: ARG002 - it draws nothing
        code = self.encode(x)
        if self.training and self.lifetime:
            code = lifetime(code, self.lifetime)
        return Pass(self.decode(code), code)

    def prepare(self, items: Tensor) -> None:
        if self.ranged:
            self.low.copy_(items.amin(0))
            self.span.copy_((items.amax(0) - self.low).clamp_min(1e-12))

    def units(self, x: Tensor) -> Tensor:
        return (x - self.low) / self.span if self.ranged else x

    def finish(self, output: Tensor) -> Tensor:
        values = super().finish(output)
        return values * self.span + self.low if self.ranged else values


def layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Affine maps through the widths, the activation between them but not after the last."""
    made: list[nn.Module] = []
    for before, after in pairwise(widths):
        made += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return made[:-1]


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
    active: PositiveInt | None = None
    """Keep only so many numbers of each code, the largest, and make the others 0."""
    lifetime: Share = 0.0
    """While training, keep each unit of the code for this share of the batch alone, where it is largest; 0: always."""
    units: Literal["as given", "range"] = "as given"
    """`range`: inside the net every feature is on 0..1 from its least to its largest training value; for vectors."""

    def build(self, shape: Shape) -> Dense:
        if self.units == "range" and len(shape) != 1:
            raise RecipeError("net.units = 'range' is for vectors: pictures are in 0..1 already")
        if self.active and self.active > self.code:
            raise RecipeError(f"net.active = {self.active} is more than the code has: {self.code}")
        return Dense(self, shape)

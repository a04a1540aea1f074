"""Dense nets: under- and overcomplete, shallow and deep, linear and not; pictures are flattened inside."""

from itertools import pairwise
from math import prod
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from training.errors import RecipeError
from training.nets.base import ACTIVATIONS, Activation, Autoencoder, ForwardResult, NetSection, Shape
from training.nets.sparsity import lifetime_sparsity, top_k
from training.schema import Fraction


class Dense(Autoencoder):
    """features -> hidden -> code -> hidden reversed -> features; each layer affine, then its activation."""

    minimum: Tensor
    range: Tensor

    def __init__(self, section: "DenseSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        widths = [prod(shape), *section.hidden, section.code]
        self.encoder = nn.Sequential(
            nn.Flatten(), *mlp_layers(widths, section.activation), ACTIVATIONS[section.code_activation]()
        )
        self.decoder = nn.Sequential(*mlp_layers(widths[::-1], section.activation), nn.Unflatten(1, shape))
        self.top_k, self.lifetime_sparsity, self.normalizes = (
            section.top_k,
            section.lifetime_sparsity,
            section.normalize == "minmax",
        )
        if self.normalizes:
            self.register_buffer("minimum", torch.zeros(shape))
            self.register_buffer("range", torch.ones(shape))

    def encode(self, x: Tensor) -> Tensor:
        """N and the item's shape -> N,code."""
        code = self.encoder(self.normalize(x))
        return top_k(code, self.top_k) if self.top_k else code

    def decode(self, code: Tensor) -> Tensor:
        """N,code -> N and the item's shape, raw."""
        return self.decoder(code)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - it draws nothing
        code = self.encode(x)
        if self.training and self.lifetime_sparsity:
            code = lifetime_sparsity(code, self.lifetime_sparsity)
        return ForwardResult(self.decode(code), code)

    def init_from_data(self, items: Tensor) -> None:
        if self.normalizes:
            self.minimum.copy_(items.amin(0))
            self.range.copy_((items.amax(0) - self.minimum).clamp_min(1e-12))

    def normalize(self, x: Tensor) -> Tensor:
        return (x - self.minimum) / self.range if self.normalizes else x

    def activate_output(self, output: Tensor) -> Tensor:
        values = super().activate_output(output)
        return values * self.range + self.minimum if self.normalizes else values


def mlp_layers(widths: list[int], activation: Activation) -> list[nn.Module]:
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
    top_k: PositiveInt | None = None
    """Keep only so many numbers of each code, the largest, and make the others 0."""
    lifetime_sparsity: Fraction = 0.0
    """While training, keep each unit of the code for this share of the batch alone, where it is largest; 0: always."""
    normalize: Literal["none", "minmax"] = "none"
    """`range`: inside the net every feature is on 0..1 from its least to its largest training value; for vectors."""

    def build(self, shape: Shape) -> Dense:
        if self.normalize == "minmax" and len(shape) != 1:
            raise RecipeError("net.normalize = 'minmax' is for vectors: pictures are in 0..1 already")
        if self.top_k and self.top_k > self.code:
            raise RecipeError(f"net.top_k = {self.top_k} is more than the code has: {self.code}")
        return Dense(self, shape)

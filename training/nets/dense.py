"""Dense (fully connected) autoencoders: under- and overcomplete, shallow and deep, linear and nonlinear."""

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
    """Autoencoder of two multilayer perceptrons. Pictures are flattened."""

    minimum: Tensor
    """Smallest training value of each feature, (F,); only with `normalize = "minmax"`."""
    range: Tensor
    """Largest minus smallest training value of each feature, (F,); only with `normalize = "minmax"`."""

    def __init__(self, section: "DenseSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        widths = [prod(shape), *section.hidden, section.code]
        self.encoder = nn.Sequential(
            nn.Flatten(), *mlp_layers(widths, section.activation), ACTIVATIONS[section.code_activation]()
        )
        self.decoder = nn.Sequential(*mlp_layers(widths[::-1], section.activation), nn.Unflatten(1, shape))
        self.top_k = section.top_k
        self.lifetime_sparsity = section.lifetime_sparsity
        self.normalizes = section.normalize == "minmax"
        if self.normalizes:
            self.register_buffer("minimum", torch.zeros(shape))
            self.register_buffer("range", torch.ones(shape))

    def encode(self, x: Tensor) -> Tensor:
        """Encode items (N, *shape) as codes (N, code)."""
        code = self.encoder(self.normalize(x))
        return top_k(code, self.top_k) if self.top_k else code

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes (N, code) to raw outputs (N, *shape)."""
        return self.decoder(code)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - nothing is sampled
        """Encode and decode items (N, *shape). In training mode, `lifetime_sparsity` is enforced over the batch."""
        code = self.encode(x)
        if self.training and self.lifetime_sparsity:
            code = lifetime_sparsity(code, self.lifetime_sparsity)
        return ForwardResult(self.decode(code), code)

    def init_from_data(self, items: Tensor) -> None:
        """Store the range of each feature of items (N, F) if vectors are normalised."""
        if self.normalizes:
            self.minimum.copy_(items.amin(0))
            self.range.copy_((items.amax(0) - self.minimum).clamp_min(1e-12))

    def normalize(self, x: Tensor) -> Tensor:
        """Scale each feature to 0..1 over the training set if `normalize = "minmax"`."""
        return (x - self.minimum) / self.range if self.normalizes else x

    def activate_output(self, output: Tensor) -> Tensor:
        """Convert raw outputs (N, *shape) to values on the scale of the data."""
        values = super().activate_output(output)
        return values * self.range + self.minimum if self.normalizes else values


def mlp_layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Return linear layers of these widths with the activation between them, but not after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return layers[:-1]


class DenseSection(NetSection):
    """The `[net]` table of a dense autoencoder, `family = "dense"`."""

    family: Literal["dense"] = "dense"
    code: PositiveInt
    """Numbers in the code. With more than the input has, the network is overcomplete."""
    hidden: list[PositiveInt] = Field(default_factory=list)
    """Widths of the hidden layers of the encoder; the decoder has them in reverse."""
    activation: Activation = "relu"
    """Activation after each hidden layer."""
    code_activation: Activation = "linear"
    """Activation of the code."""
    top_k: PositiveInt | None = None
    """Keep only the `top_k` largest numbers of each code and set the others to 0."""
    lifetime_sparsity: Fraction = 0.0
    """During training, keep each unit only for this fraction of the batch, where it is largest. 0 disables it."""
    normalize: Literal["none", "minmax"] = "none"
    """`minmax` scales each feature of vectors to 0..1, from its smallest to its largest training value."""

    def build(self, shape: Shape) -> Dense:
        """Return a dense autoencoder with new weights for items of `shape`.

        Raises:
            RecipeError: `normalize = "minmax"` for pictures, or `top_k` greater than `code`.
        """
        if self.normalize == "minmax" and len(shape) != 1:
            raise RecipeError("net.normalize = 'minmax' is for vectors; pictures are in 0..1 already: set it to 'none'")
        if self.top_k and self.top_k > self.code:
            raise RecipeError(f"net.top_k = {self.top_k} is greater than net.code = {self.code}")
        return Dense(self, shape)

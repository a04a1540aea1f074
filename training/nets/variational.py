"""Variational nets: the code is a normal distribution, held near the standard one, so that any code can be decoded.

After Kingma and Welling, Auto-Encoding Variational Bayes (2014).
"""

from math import prod
from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import PositiveInt
from torch import Generator, Tensor, nn

from training.nets.base import Activation, Autoencoder, ForwardResult, NetSection, Shape
from training.nets.dense import mlp_layers


class Variational(Autoencoder):
    """features -> hidden -> mean and log-variance of the code; a draw of it -> hidden reversed -> features."""

    def __init__(self, section: "VariationalSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        self.draws = section.draws
        widths = [prod(shape), *section.hidden]
        self.encoder = nn.Sequential(nn.Flatten(), *mlp_layers([*widths, 2 * section.code], section.activation))
        self.decoder = nn.Sequential(
            *mlp_layers([section.code, *widths[::-1]], section.activation), nn.Unflatten(1, shape)
        )

    def encode(self, x: Tensor) -> Tensor:
        """N and the item's shape -> N,code: the means."""
        return self.posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """N,code -> N and the item's shape, raw."""
        return self.decoder(code)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """N and the item's shape -> the mean and the log-variance of the code, N,code each."""
        mean, spread = self.encoder(x).chunk(2, 1)
        return mean, spread

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:
        """With a generator codes are drawn; without one the code is the mean."""
        mean, spread = self.posterior(x)
        if generator is None:
            return ForwardResult(self.decode(mean), mean, spread)
        mean, spread = mean.float(), spread.float()  # the draw and its density are of the same numbers
        noise = torch.randn((self.draws, *mean.shape), generator=generator)
        drawn = (mean + (spread / 2).exp() * noise).flatten(0, 1)
        return ForwardResult(self.decode(drawn), mean, spread, drawn)


class VariationalSection(NetSection):
    """`family = "variational"`."""

    family: Literal["variational"] = "variational"
    code: PositiveInt
    """Numbers in the code."""
    hidden: Annotated[list[PositiveInt], Len(min_length=1)]
    """Widths between the input and the code; the decoder has them in reverse."""
    activation: Activation = "gelu"
    """After each hidden layer."""
    draws: PositiveInt = 1
    """Codes drawn of each item's distribution at every step."""

    def build(self, shape: Shape) -> Variational:
        return Variational(self, shape)

"""Variational autoencoders: the encoder returns a normal distribution of codes, kept close to the standard normal.

Kingma and Welling, "Auto-encoding variational Bayes" (ICLR 2014).
"""

from math import prod
from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from training.nets.base import Activation, Autoencoder, ForwardResult, NetSection, Shape, default_code
from training.nets.dense import mlp_layers
from training.nets.scaling import Normalization, column_scaling


class Variational(Autoencoder):
    """Variational autoencoder of two multilayer perceptrons with a diagonal normal posterior."""

    def __init__(self, section: "VariationalSection", shape: Shape) -> None:
        code = section.code or default_code(shape)
        super().__init__(shape, (code,), sigmoid=section.has_sigmoid(shape))
        self.scaling = column_scaling(section.normalize, shape, sigmoid=self.sigmoid)
        self.draws = section.draws
        widths = [prod(shape), *section.hidden]
        self.encoder = nn.Sequential(nn.Flatten(), *mlp_layers([*widths, 2 * code], section.activation))
        self.decoder = nn.Sequential(*mlp_layers([code, *widths[::-1]], section.activation), nn.Unflatten(1, shape))

    def encode(self, x: Tensor) -> Tensor:
        """Encode items (N, *shape) as the means (N, code) of their posteriors."""
        return self.posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes (N, code) to raw outputs (N, *shape)."""
        return self.decoder(code)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log-variance, (N, code) each, of the codes of items (N, *shape)."""
        mean, log_variance = self.encoder(self.normalize(x)).chunk(2, 1)
        return mean, log_variance

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:
        """Encode and decode items (N, *shape).

        With a generator, `draws` codes per item are sampled from the posterior and decoded: the outputs are
        (draws * N, *shape). Without one, the mean is decoded.
        """
        mean, log_variance = self.posterior(x)
        if generator is None:
            return ForwardResult(self.decode(mean), mean, log_variance)
        mean, log_variance = mean.float(), log_variance.float()  # samples and their density use the same numbers
        noise = torch.randn((self.draws, *mean.shape), generator=generator, device=mean.device)
        samples = (mean + (log_variance / 2).exp() * noise).flatten(0, 1)  # reparameterisation: z = mu + sigma * eps
        return ForwardResult(self.decode(samples), mean, log_variance, samples)


class VariationalSection(NetSection):
    """The `[net]` table of a variational autoencoder, `family = "variational"`."""

    family: Literal["variational"] = "variational"
    code: PositiveInt | None = None
    """Numbers in the code. None: the square root of the values of an item, at most 64."""
    hidden: Annotated[list[PositiveInt], Len(min_length=1)] = Field(default=[256])
    """Widths of the hidden layers of the encoder; the decoder has them in reverse."""
    activation: Activation = "gelu"
    """Activation after each hidden layer."""
    normalize: Normalization | None = None
    """Scale of the columns of vectors, as in dense networks."""
    draws: PositiveInt = 1
    """Codes sampled per item at every step."""

    def build(self, shape: Shape) -> Variational:
        """Return a variational autoencoder with new weights for items of `shape`."""
        return Variational(self, shape)

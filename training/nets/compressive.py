"""Compressive networks: codes are integers, and a density model estimates how many bits each code costs.

After Ballé, Laparra and Simoncelli, "End-to-end optimized image compression" (ICLR 2017): during training, rounding is
replaced by uniform noise of the same width, and each unit learns the density of its noisy values. The network is
initialised as a linear codec, the principal components of its training set; nonlinear layers in parallel with the
linear maps learn the rest. The entropy coder is not part of the network (`service/codec/range_coder.py`).
"""

import math
from math import prod
from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.nets.base import Activation, Autoencoder, ForwardResult, NetSection, Shape, default_code
from training.nets.dense import mlp_layers

MIXTURE_COMPONENTS = 3
"""Logistic distributions in the mixture of each unit."""
MIN_PROBABILITY = 1e-9
"""Lower bound of a probability, which keeps its logarithm finite."""
SIGMOID_SLOPE = 8.0
"""Factor on the linear codec's output minus 0.5 before a sigmoid, which then approximates clipping to 0..1."""
CHUNK_ITEMS = 4096
"""Items that are converted to float32 at a time."""


class FactorizedDensity(nn.Module):
    """Fully factorised density of codes (Ballé et al. 2017): one mixture of logistic distributions per unit."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(units, MIXTURE_COMPONENTS))
        self.centres = nn.Parameter(torch.linspace(-1, 1, MIXTURE_COMPONENTS).repeat(units, 1))
        self.widths = nn.Parameter(torch.zeros(units, MIXTURE_COMPONENTS))
        """Logarithms of the scales."""

    def negative_log_likelihood(self, code: Tensor) -> Tensor:
        """Return the negative log-likelihood in nats, (N,), of codes (N, units).

        The probability of a value v is the mass of the interval from v - 0.5 to v + 0.5.
        """
        # P(v) = sum_k w_k [s((v + 0.5 - c_k) / b_k) - s((v - 0.5 - c_k) / b_k)] with the logistic function s. The
        # density is symmetric about c_k; with |v - c_k| both terms are in the lower tail, where float32 is accurate.
        away = (code.unsqueeze(2) - self.centres).abs()
        per_width = torch.exp(-self.widths)
        inside = torch.sigmoid((0.5 - away) * per_width) - torch.sigmoid((-0.5 - away) * per_width)
        probability = (inside * F.softmax(self.weights, 1)).sum(2)
        return -probability.clamp_min(MIN_PROBABILITY).log().sum(1)

    def init_scales(self, deviations: Tensor) -> None:
        """Initialise the mixtures for values with the standard deviations `deviations` (units,)."""
        wide = deviations.clamp_min(0.3).unsqueeze(1)
        self.centres.mul_(wide)
        self.widths.add_(wide.log() - 1)


class Compressive(Autoencoder):
    """Autoencoder with integer codes. Encoder and decoder each add a linear map and a multilayer perceptron."""

    def __init__(self, section: "CompressiveSection", shape: Shape) -> None:
        code = section.code or default_code(shape)
        super().__init__(shape, (code,), sigmoid=section.has_sigmoid(shape))
        widths = [prod(shape), *section.hidden, code]
        self.analysis = nn.Sequential(*mlp_layers(widths, section.activation))
        self.synthesis = nn.Sequential(*mlp_layers(widths[::-1], section.activation))
        self.project, self.rebuild = nn.Linear(widths[0], code), nn.Linear(code, widths[0])
        self.scale = nn.Parameter(torch.full((code,), -math.log(section.quantization_step)))
        self.density = FactorizedDensity(code)

    def encode(self, x: Tensor) -> Tensor:
        """Encode items (N, *shape) as integer codes, float32 (N, code)."""
        return self.continuous_code(x).round()

    def decode(self, code: Tensor) -> Tensor:
        """Decode codes (N, code) to raw outputs (N, *shape)."""
        values = code * torch.exp(-self.scale)
        return (self.rebuild(values) + self.synthesis(values)).unflatten(1, self.shape)

    def continuous_code(self, x: Tensor) -> Tensor:
        """Return codes before rounding, float32 (N, code). bfloat16 cannot represent fractions of large codes."""
        values = x.flatten(1)
        return (self.project(values) + self.analysis(values)).float() * torch.exp(self.scale)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:
        """Encode and decode items (N, *shape); also return the negative log-likelihood of the codes.

        In training mode and with a generator, uniform noise in -0.5..0.5 replaces rounding. Otherwise codes are rounded
        with a straight-through gradient.
        """
        values = self.continuous_code(x)
        if self.training and generator is not None:
            code = values + torch.rand(values.shape, generator=generator, device=values.device) - 0.5
        else:
            code = values + (values.round() - values).detach()  # the gradient of the rounding is that of the identity
        return ForwardResult(self.decode(code), code, code_nll=self.density.negative_log_likelihood(code))

    @torch.no_grad()
    def init_from_data(self, items: Tensor) -> None:
        """Initialise as the linear codec of items (N, *shape): principal components, rounded to the first step.

        The last layers of the perceptrons start at zero, so that only the linear maps contribute at first.
        """
        mean, directions, variances = pca(items, self.project.out_features)
        rank, step = len(variances), math.exp(-self.scale[0].item())
        # Rounding adds noise of variance step^2 / 12. The Wiener gain v / (v + step^2 / 12) is optimal.
        gains = variances / (variances + step**2 / 12)
        self.project.weight.copy_(F.pad(directions, (0, 0, 0, len(self.scale) - rank)))
        self.project.bias.copy_(-self.project.weight @ mean)
        slope, middle = (SIGMOID_SLOPE, 0.5) if self.sigmoid else (1.0, 0.0)
        self.rebuild.weight[:, :rank] = slope * directions.T * gains
        self.rebuild.bias.copy_(slope * (mean - middle))
        for layer in (self.analysis[-1], self.synthesis[-1]):
            for weights in layer.parameters():
                weights.zero_()
        self.density.init_scales(F.pad(variances, (0, len(self.scale) - rank)).sqrt() / step)


def pca(items: Tensor, max_components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the principal components of items (N, *shape), uint8 or float.

    Returns:
        The mean (features,), at most `max_components` orthonormal directions (components, features) by decreasing
        variance, and their variances (components,), all float32. Directions without variance are left out.
    """
    rows = torch.cat([_flatten(chunk) for chunk in items.split(CHUNK_ITEMS)])
    mean = rows.mean(0)
    rows -= mean
    if len(rows) > rows.shape[1]:
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        directions = directions.T
    else:
        # Fewer items than features: if X X^T u = v u, then X^T u is an eigenvector of X^T X with the same eigenvalue v.
        variances, left = torch.linalg.eigh(rows @ rows.T / len(rows))
        directions = F.normalize(left.T @ rows)
    count = min(max_components, int((variances > 1e-6 * variances[-1]).sum()))
    return mean, directions.flip(0)[:count], variances.flip(0)[:count]


def _flatten(items: Tensor) -> Tensor:
    """Return items as float32 (N, features), pictures in 0..1."""
    flat = items.flatten(1).to(torch.float32)
    return flat / 255 if items.dtype == torch.uint8 else flat


class CompressiveSection(NetSection):
    """The `[net]` table of a compressive network, `family = "compressive"`. Train it with the penalty `rate`."""

    family: Literal["compressive"] = "compressive"
    code: PositiveInt | None = None
    """Integers in the code. Units that are not worth their rate stay 0 and cost almost nothing. None: the square
    root of the values of an item, at most 64."""
    hidden: Annotated[list[PositiveInt], Len(min_length=1)] = Field(default=[256])
    """Widths of the hidden layers of the encoder; the decoder has them in reverse."""
    activation: Activation = "gelu"
    """Activation after each hidden layer."""
    quantization_step: PositiveFloat = 0.5
    """Initial rounding step on the scale of the data. Each unit then learns its own."""

    def build(self, shape: Shape) -> Compressive:
        """Return a compressive network with new weights for items of `shape`."""
        return Compressive(self, shape)

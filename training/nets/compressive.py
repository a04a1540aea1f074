"""Compressive nets: the code is whole numbers, and the net knows how many bits each of them costs.

After Ballé, Laparra and Simoncelli, End-to-end Optimized Image Compression (2017): while training, noise as wide as
the rounding stands for it, and every unit learns the density of its noisy values. Such a net begins as the linear
codec, the principal components of its training set, and learns what layers beside it add. Knows no coder that writes
the bits.
"""

import math
from math import prod
from typing import Annotated, Literal

import torch
from annotated_types import Len
from pydantic import PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.nets.base import Activation, Autoencoder, ForwardResult, NetSection, Shape
from training.nets.dense import mlp_layers

MIXTURE_COMPONENTS = 3
"""Logistic distributions that a unit's density is mixed of."""
MIN_PROBABILITY = 1e-9
"""Probability below which a value is not called rarer still."""
SIGMOID_SLOPE = 8.0
"""What the linear codec's answers, less a half, are multiplied by before a sigmoid: close to cutting them to 0..1."""
CHUNK_ITEMS = 4096


class FactorizedDensity(nn.Module):
    """For each unit a mixture of logistic distributions, and the probability of the interval of 1 around a value."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(units, MIXTURE_COMPONENTS))
        self.centres = nn.Parameter(torch.linspace(-1, 1, MIXTURE_COMPONENTS).repeat(units, 1))
        self.widths = nn.Parameter(torch.zeros(units, MIXTURE_COMPONENTS))
        """Logarithms."""

    def negative_log_likelihood(self, code: Tensor) -> Tensor:
        """N,units -> N: minus the logarithm of the probability of each code."""
        away = (code.unsqueeze(2) - self.centres).abs()  # each half mirrors the other: far out only this one is exact
        per_width = torch.exp(-self.widths)
        inside = torch.sigmoid((0.5 - away) * per_width) - torch.sigmoid((-0.5 - away) * per_width)
        probability = (inside * F.softmax(self.weights, 1)).sum(2)
        return -probability.clamp_min(MIN_PROBABILITY).log().sum(1)

    def init_scales(self, deviations: Tensor) -> None:
        """Begins with values of these standard deviations, one for each unit."""
        wide = deviations.clamp_min(0.3).unsqueeze(1)
        self.centres.mul_(wide)
        self.widths.add_(wide.log() - 1)


class Compressive(Autoencoder):
    """features -> code, on a scale where it can be rounded -> features; both by a linear map plus hidden layers."""

    def __init__(self, section: "CompressiveSection", shape: Shape) -> None:
        super().__init__(shape, (section.code,), sigmoid=section.output == "sigmoid")
        widths = [prod(shape), *section.hidden, section.code]
        self.analysis = nn.Sequential(*mlp_layers(widths, section.activation))
        self.synthesis = nn.Sequential(*mlp_layers(widths[::-1], section.activation))
        self.project, self.rebuild = nn.Linear(widths[0], section.code), nn.Linear(section.code, widths[0])
        self.scale = nn.Parameter(torch.full((section.code,), -math.log(section.quantization_step)))
        self.density = FactorizedDensity(section.code)

    def encode(self, x: Tensor) -> Tensor:
        """N and the item's shape -> N,code: whole numbers."""
        return self.continuous_code(x).round()

    def decode(self, code: Tensor) -> Tensor:
        """N,code -> N and the item's shape, raw."""
        values = code * torch.exp(-self.scale)
        return (self.rebuild(values) + self.synthesis(values)).unflatten(1, self.shape)

    def continuous_code(self, x: Tensor) -> Tensor:
        """What `encode` rounds; float32, since half precision cannot tell 300.4 from 300.6."""
        values = x.flatten(1)
        return (self.project(values) + self.analysis(values)).float() * torch.exp(self.scale)

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:
        """In training and with a generator the rounding is drawn noise; else it is done, and passed in gradients."""
        values = self.continuous_code(x)
        if self.training and generator is not None:
            code = values + torch.rand(values.shape, generator=generator) - 0.5
        else:
            code = values + (values.round() - values).detach()
        return ForwardResult(self.decode(code), code, code_nll=self.density.negative_log_likelihood(code))

    @torch.no_grad()
    def init_from_data(self, items: Tensor) -> None:
        """Makes it the linear codec of these items: the layers beside the linear maps answer 0 at first."""
        mean, directions, variances = pca(items, self.project.out_features)
        found, step = len(variances), math.exp(-self.scale[0].item())
        kept = variances / (variances + step**2 / 12)  # of what comes back through the noise, the least-squares share
        self.project.weight.copy_(F.pad(directions, (0, 0, 0, len(self.scale) - found)))
        self.project.bias.copy_(-self.project.weight @ mean)
        steep, middle = (SIGMOID_SLOPE, 0.5) if self.sigmoid else (1.0, 0.0)
        self.rebuild.weight[:, :found] = steep * directions.T * kept
        self.rebuild.bias.copy_(steep * (mean - middle))
        for beside in (self.analysis[-1], self.synthesis[-1]):
            for weights in beside.parameters():
                weights.zero_()
        self.density.init_scales(F.pad(variances, (0, len(self.scale) - found)).sqrt() / step)


def pca(items: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of the items, their directions of most variance (at most `most`, by rows), and the variances."""
    rows = torch.cat([_flatten(chunk) for chunk in items.split(CHUNK_ITEMS)])
    mean = rows.mean(0)
    rows -= mean
    if len(rows) > rows.shape[1]:
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        directions = directions.T
    else:  # fewer items than features: the same directions from the smaller matrix
        variances, shares = torch.linalg.eigh(rows @ rows.T / len(rows))
        directions = F.normalize(shares.T @ rows)
    count = min(most, int((variances > 1e-6 * variances[-1]).sum()))
    return mean, directions.flip(0)[:count], variances.flip(0)[:count]


def _flatten(items: Tensor) -> Tensor:
    """N,features; pictures in 0..1."""
    flat = items.flatten(1).to(torch.float32)
    return flat / 255 if items.dtype == torch.uint8 else flat


class CompressiveSection(NetSection):
    """`family = "compressive"`; train it with the penalty `rate`."""

    family: Literal["compressive"] = "compressive"
    code: PositiveInt
    """Whole numbers in the code; what the rate does not pay for stays 0 and costs nothing."""
    hidden: Annotated[list[PositiveInt], Len(min_length=1)]
    """Widths between the input and the code; the decoder has them in reverse."""
    activation: Activation = "gelu"
    """After each hidden layer."""
    quantization_step: PositiveFloat = 0.5
    """What numbers of the code are rounded to at first, on the scale of the data; each unit learns its own."""

    def build(self, shape: Shape) -> Compressive:
        return Compressive(self, shape)

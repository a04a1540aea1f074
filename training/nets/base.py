"""Base classes of all families: the network (`Autoencoder`) and its table of the recipe (`NetSection`).

Pictures are float32 tensors (N, C, H, W) in 0..1, vectors float32 (N, F). Corruption and loss are applied outside.

In `eval` mode and without a generator, the output for an item is deterministic and does not depend on the other items
of the batch. In training mode a network may sample from the generator it receives and use statistics of the batch.
"""

from abc import ABC, abstractmethod
from math import prod
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Generator, Tensor, nn

from service.card import Operation
from training.nets.scaling import ColumnScaling, Shape, normalization
from training.schema import RecipeTable

OPERATIONS: tuple[Operation, ...] = get_args(Operation)


class ForwardResult(NamedTuple):
    """Result of one forward pass. All tensors are floating point, of the precision of the pass."""

    output: Tensor
    """Raw output before `activate_output`: (N, *shape), or (S * N, *shape) with S samples per item."""
    code: Tensor
    """Code: (N, *code_shape). For a normal distribution, its mean."""
    log_variance: Tensor | None = None
    """Logarithm of the variance of a normal code: (N, code)."""
    samples: Tensor | None = None
    """Sampled codes (S * N, code): the first samples of all items, then the second ones, and so on."""
    code_nll: Tensor | None = None
    """Negative log-likelihood of each code in nats: (N,). Set by families with a model of their codes."""
    noise_variance: Tensor | None = None
    """Estimated variance of the noise in each cell, on the 0..1 scale: (N, h, w). Set by nets that estimate it."""
    strength: Tensor | None = None
    """Strength that each item was denoised with, 1 for the default: (N,). Set by nets that take one."""

    def in_float32(self) -> "ForwardResult":
        """Return the result with all tensors converted to float32."""
        return ForwardResult._make(None if part is None else part.float() for part in self)


class Autoencoder(nn.Module, ABC):
    """Network with an encoder and a decoder.

    Args:
        shape: Shape of one item, (C, H, W) or (F,).
        code_shape: Shape of one code. A side that depends on the size of the picture is None.
        sigmoid: Whether `activate_output` applies a sigmoid to the raw output.
    """

    any_size: bool = False
    """Whether the network takes pictures of any size."""
    receptive_radius: int | None = None
    """Largest distance in pixels from an output pixel to an input pixel that it depends on; set with `any_size`."""
    stride: int | None = None
    """Shifting the input by a multiple of so many pixels shifts the output by as many; set with `any_size`."""
    max_strength: float = 1.0
    """Largest strength of denoising that the network takes; 1 if it takes none."""
    added_parts: tuple[str, ...] = ()
    """Names of submodules that initial weights may lack, because a new one does not change the output."""

    def __init__(self, shape: Shape, code_shape: tuple[int | None, ...], *, sigmoid: bool) -> None:
        super().__init__()
        self.shape = shape
        self.code_shape = code_shape
        self.sigmoid = sigmoid
        self.scaling: ColumnScaling | None = None

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Encode items (N, *shape) as codes (N, *code_shape)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Decode codes (N, *code_shape) to raw outputs (N, *shape): logits with `sigmoid`, otherwise values."""

    def forward_with_code(self, x: Tensor, generator: Generator | None = None) -> ForwardResult:  # noqa: ARG002 - for families that sample
        """Encode and decode items (N, *shape); return the raw output and the code.

        The penalties of the objective need the code. Families that sample during training use `generator`.
        """
        code = self.encode(x)
        return ForwardResult(self.decode(code), code)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw reconstruction (N, *shape) of items (N, *shape)."""
        return self.forward_with_code(x).output

    def denoise(self, x: Tensor, strength: Tensor | None = None, crop: Tensor | None = None) -> ForwardResult:  # noqa: ARG002 - for networks that take them
        """Denoise items (N, *shape) with a strength for each, (N,), from 1 to `max_strength`.

        `crop`, int64 (4,), is for networks with `any_size`: the pixels of the output to leave out at its top, left,
        bottom and right.
        """
        return self.forward_with_code(x)

    def for_inference(self) -> "Autoencoder":
        """Return a network with the same outputs, but for rounding, that is faster to run and is not trained."""
        return self

    def freeze_body(self) -> None:
        """Train nothing but `added_parts` from now on."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in self.added_parts)

    def init_from_data(self, items: Tensor) -> None:
        """Initialise weights or buffers from the training items, once, before the first step.

        `items` are uint8 or float32 (N, *shape). Fits the scaling of columns by default.
        """
        if self.scaling is not None:
            self.scaling.fit(items)

    def normalize(self, x: Tensor) -> Tensor:
        """Scale items (N, *shape) for the loss: to the scale of the columns, if the network scales them."""
        return x if self.scaling is None else self.scaling(x)

    def activate_output(self, output: Tensor) -> Tensor:
        """Convert raw outputs (N, *shape) to values on the scale of the data."""
        values = torch.sigmoid(output) if self.sigmoid else output
        return values if self.scaling is None else self.scaling.inverse(values)

    def parameter_count(self) -> int:
        """Return the number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


class NetSection(RecipeTable, ABC):
    """The `[net]` table of a recipe. Each family adds the key `family`, its name in NETS."""

    output: Literal["sigmoid", "linear"] | None = None
    """Activation of the output: `sigmoid` for values in 0..1, `linear` for any values. None: `sigmoid` for images,
    `linear` for vectors."""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Operations that a network of this section supports."""
        return OPERATIONS

    def has_sigmoid(self, shape: Shape) -> bool:
        """Return whether the output of a network for items of `shape` is a sigmoid."""
        return self.output == "sigmoid" if self.output else len(shape) == 3

    def complete(self, shape: Shape) -> Self:
        """Return the section with the values that a network for items of `shape` has in place of None."""
        fields = type(self).model_fields
        values: dict[str, object] = {"output": "sigmoid" if self.has_sigmoid(shape) else "linear"}
        if "code" in fields:
            values["code"] = getattr(self, "code", None) or default_code(shape)
        if "normalize" in fields:
            values["normalize"] = normalization(
                getattr(self, "normalize", None), shape, sigmoid=self.has_sigmoid(shape)
            )
        return self.model_copy(update=values)

    @abstractmethod
    def build(self, shape: Shape) -> Autoencoder:
        """Return a network with new weights for items of `shape`, (C, H, W) or (F,).

        Raises:
            RecipeError: The section does not fit items of that shape.
        """


def default_code(shape: Shape) -> int:
    """Return the size of a code for items of `shape`: the square root of their number of values, 1 to 64."""
    return max(1, min(64, round(prod(shape) ** 0.5)))


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
Activation = Literal["linear", "relu", "gelu", "tanh", "sigmoid"]
"""The keys of ACTIVATIONS. A test compares the two."""

"""Dense (fully connected) autoencoders: under- and overcomplete, shallow and deep, linear and nonlinear."""

from itertools import pairwise
from math import prod
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn

from training.errors import RecipeError
from training.nets.base import ACTIVATIONS, Activation, Autoencoder, ForwardResult, NetSection, Shape, default_code
from training.nets.scaling import Normalization, column_scaling
from training.nets.sparsity import lifetime_sparsity, top_k
from training.schema import Fraction


class Dense(Autoencoder):
    """Autoencoder of two multilayer perceptrons. Pictures are flattened."""

    def __init__(self, section: "DenseSection", shape: Shape) -> None:
        code = section.code or default_code(shape)
        super().__init__(shape, (code,), sigmoid=section.has_sigmoid(shape))
        widths = [prod(shape), *section.hidden, code]
        self.encoder = nn.Sequential(
            nn.Flatten(), *mlp_layers(widths, section.activation), ACTIVATIONS[section.code_activation]()
        )
        self.decoder = nn.Sequential(*mlp_layers(widths[::-1], section.activation), nn.Unflatten(1, shape))
        self.top_k = section.top_k
        self.lifetime_sparsity = section.lifetime_sparsity
        self.scaling = column_scaling(section.normalize, shape, sigmoid=self.sigmoid)

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


def mlp_layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Return linear layers of these widths with the activation between them, but not after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return layers[:-1]


class DenseSection(NetSection):
    """The `[net]` table of a dense autoencoder, `family = "dense"`."""

    family: Literal["dense"] = "dense"
    code: PositiveInt | None = None
    """Numbers in the code. With more than the input has, the network is overcomplete. None: the square root of the
    values of an item, at most 64."""
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
    normalize: Normalization | None = None
    """Scale of the columns of vectors inside the network: `standard` to mean 0 and standard deviation 1, `minmax` to
    0..1 over the training set, or `none`. None: `standard`, or `minmax` if `output` is `sigmoid`."""

    def build(self, shape: Shape) -> Dense:
        """Return a dense autoencoder with new weights for items of `shape`.

        Raises:
            RecipeError: `normalize` for pictures, or `top_k` greater than `code`.
        """
        code = self.code or default_code(shape)
        if self.top_k and self.top_k > code:
            raise RecipeError(f"net.top_k = {self.top_k} is greater than net.code = {code}")
        return Dense(self, shape)

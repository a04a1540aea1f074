"""Schema of `card.json`, which describes one model version in `models/<name>/<version>/`.

Training writes cards and the service reads them. This module imports only pydantic and the standard library.
"""

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, JsonValue, model_validator
from pydantic.types import NonNegativeInt, PositiveInt, StringConstraints

Operation = Literal["encode", "decode", "reconstruct", "denoise"]
Precision = Literal["float32", "int8"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
GraphFile = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}\.onnx$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=4000)]

CARD_FILE = "card.json"
CARD_SCHEMA_FILE = "card.schema.json"


class StrictModel(BaseModel):
    """Base model that forbids unknown fields, type conversions and later changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ImageInput(StrictModel):
    """Images: uint8 arrays of shape N,H,W,C. A null height and width mean any size."""

    kind: Literal["image"]
    height: PositiveInt | None
    width: PositiveInt | None
    channels: Literal[1, 3]

    @model_validator(mode="after")
    def _both_sides_or_none(self) -> Self:
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width must be both fixed or both null")
        return self


class VectorInput(StrictModel):
    """Vectors: float32 arrays of shape N,F."""

    kind: Literal["vector"]
    features: PositiveInt


class Code(StrictModel):
    """Codes: float32 arrays of N items of this shape. A null dimension depends on the size of the image."""

    shape: list[PositiveInt | None] = Field(min_length=1, max_length=3)


class Tensor(StrictModel):
    """A small array inside the card. `data` is the base64 of its little-endian bytes in C order."""

    dtype: Literal["uint8", "float32"]
    shape: list[PositiveInt] = Field(min_length=1, max_length=4)
    data: str


class Probe(StrictModel):
    """A stored input and the output that the loaded graph must reproduce for it."""

    input: Tensor
    output: Tensor


class Parity(StrictModel):
    """The largest difference between torch and onnxruntime for one batch size and one input shape (without N).

    The unit `levels` means grey levels (0..255) of images. The unit `relative` means the difference divided by the
    largest magnitude of the output.
    """

    batch: PositiveInt
    shape: list[PositiveInt]
    difference: Annotated[FiniteFloat, Field(ge=0)]
    unit: Literal["levels", "relative"]


class Graph(StrictModel):
    """One single-file ONNX graph, which includes the preprocessing, and the data to verify it.

    `bytes_per_pixel` is the measured memory of a run, in bytes per pixel of the input. The service derives the tile
    size from it, for graphs that take images of any size.
    """

    operation: Operation
    precision: Precision
    file: GraphFile
    sha256: Sha256
    probe: Probe
    parity: list[Parity]
    bytes_per_pixel: Annotated[FiniteFloat, Field(gt=0)] | None = None


class Data(StrictModel):
    """The data set that the model was trained on."""

    name: Text
    sha256: Sha256
    count: PositiveInt
    licence: Text


class Quality(StrictModel):
    """Figures of the model measured on `data`, and the same figures of the baselines."""

    data: Text
    figures: dict[str, FiniteFloat]
    baselines: dict[str, dict[str, FiniteFloat]]


class Provenance(StrictModel):
    """How the model was made: library versions, ONNX opset, seed, seconds of training and date."""

    versions: dict[str, str]
    opset: PositiveInt
    seed: NonNegativeInt
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    date: Annotated[date, Field(strict=False)]


class Card(StrictModel):
    """One version of one model.

    `error_percentiles` are the percentiles 0 to 100 of the mean squared error per item, on the 0..1 scale, of held-out
    data passed through the served `reconstruct` graph.
    """

    format: Literal[1]
    name: Name
    version: PositiveInt
    family: Name
    title: Text
    description: Text
    licence: Text
    parameters: PositiveInt
    input: Annotated[ImageInput | VectorInput, Discriminator("kind")]
    code: Code
    graphs: list[Graph] = Field(min_length=1)
    receptive_radius: NonNegativeInt | None
    stride: PositiveInt | None
    error_percentiles: list[Annotated[FiniteFloat, Field(ge=0)]] | None
    recipe: dict[str, JsonValue]
    data: Data
    quality: Quality
    made: Provenance

    @property
    def operations(self) -> list[Operation]:
        """Return the operations of the graphs without repetition, in the order of the card."""
        return list(dict.fromkeys(graph.operation for graph in self.graphs))

    @property
    def any_size(self) -> bool:
        """Whether the model takes images of any size."""
        return isinstance(self.input, ImageInput) and self.input.height is None

    @model_validator(mode="after")
    def _graphs_are_distinct(self) -> Self:
        keys = [(graph.operation, graph.precision) for graph in self.graphs]
        files = [graph.file for graph in self.graphs]
        if len(set(keys)) < len(keys) or len(set(files)) < len(files):
            raise ValueError("two graphs must not share a file, or an operation and a precision")
        return self

    @model_validator(mode="after")
    def _any_size_can_be_tiled(self) -> Self:
        if self.any_size and (self.receptive_radius is None or self.stride is None):
            raise ValueError("a model for images of any size must state receptive_radius and stride")
        return self

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> Self:
        errors = self.error_percentiles
        if errors is None:
            if "reconstruct" in self.operations:
                raise ValueError("a model with a reconstruct graph must state error_percentiles")
        elif len(errors) != 101 or any(low > high for low, high in pairwise(errors)):
            raise ValueError("error_percentiles must be 101 numbers in ascending order")
        return self


def read_card(text: bytes) -> Card:
    """Parse a card from JSON (UTF-8). Raises `pydantic.ValidationError` if it does not match the schema."""
    return Card.model_validate_json(text)

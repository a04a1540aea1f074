"""Schema of `card.json`, which describes one model version in `models/<name>/<version>/`.

Format 2 has all fields of format 1 and some optional ones. A card has format 2 only if it uses one of them, so that
older versions of the service can read as many models as possible. Training writes cards and the service reads them.
This module imports only pydantic and the standard library.
"""

from datetime import date
from itertools import pairwise
from math import prod
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, JsonValue, model_validator
from pydantic.types import NonNegativeInt, PositiveInt, StringConstraints

Operation = Literal["encode", "decode", "reconstruct", "denoise"]
Precision = Literal["float32", "int8"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
GraphFile = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}\.onnx$")]
ControlName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=4000)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]

CARD_FILE = "card.json"
CARD_SCHEMA_FILE = "card.schema.json"
NOISE_MAP_OUTPUT = "noise_variance"
"""Name of the second output of a graph with `noise_map`."""
CROP_INPUT = "crop"
"""Name of an optional input of a graph for images of any size, int64 (4,): pixels of the output to leave out.

They are left out at the top, left, bottom and right, and as early in the graph as possible."""
STRENGTH_CONTROL = "strength"
"""Name of the control of a `denoise` graph that removes more noise: 1 for what the model chooses, above 1 for more."""


def _is_unused(value: object) -> bool:
    """Return whether an optional field has its default value, which is not written."""
    return not value


def _is_eight(value: object) -> bool:
    return value == 8


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


MAX_TABLE_VALUES = 1 << 20
"""Largest number of values in the tables of an entropy coder: it bounds the time to decode an item."""


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


class Control(StrictModel):
    """An extra input of graphs, float32 of shape (N,): one number for each item. Its name is that of the input.

    `default` is the value for items without one. It may lie outside the range, for example -1 for a graph that then
    chooses the value itself.
    """

    name: ControlName
    title: Text
    unit: Text
    minimum: FiniteFloat
    maximum: FiniteFloat
    default: FiniteFloat

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"the minimum of the control {self.name} must not exceed its maximum")
        return self


class Column(StrictModel):
    """A column of the table that the vectors of the model are rows of.

    A column of kind `number` is one feature. A column of kind `category` is one feature for each of its `categories`:
    1 for the category of the row, and 0 for the others.
    """

    name: Label
    kind: Literal["number", "category"]
    categories: list[Label] = Field(default_factory=list, exclude_if=_is_unused)

    @property
    def features(self) -> int:
        """Number of features of the column."""
        return len(self.categories) if self.kind == "category" else 1

    @model_validator(mode="after")
    def _only_categories_have_categories(self) -> Self:
        if (self.kind == "category") != bool(self.categories):
            raise ValueError(f"the column {self.name} must have categories if, and only if, its kind is category")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"two categories of the column {self.name} have the same name")
        return self


class Bitstream(StrictModel):
    """Tables of an entropy coder for codes of whole numbers.

    `probabilities`, float32 (numbers of the code, values), are those of each value -largest..largest of each number,
    2 * largest + 1 values. Rarer values of a code are clipped to this range.
    """

    probabilities: Tensor

    @model_validator(mode="after")
    def _tables_have_a_middle(self) -> Self:
        tables = self.probabilities
        if tables.dtype != "float32" or len(tables.shape) != 2 or tables.shape[1] % 2 == 0:
            raise ValueError("the probabilities of a bitstream must be float32 with two sides, the second odd")
        if prod(tables.shape) > MAX_TABLE_VALUES:
            raise ValueError(f"the probabilities of a bitstream must be at most {MAX_TABLE_VALUES} values")
        return self


class Threshold(StrictModel):
    """The mean squared error of a reconstruction above which an input counts as unusual.

    It has the scale of `error_percentiles`. `false_alarm_rate` is the fraction of ordinary held-out inputs above it.
    """

    error: Annotated[FiniteFloat, Field(ge=0)]
    false_alarm_rate: Annotated[FiniteFloat, Field(ge=0, le=1)]


class Origin(StrictModel):
    """The file that an imported model was made from: its name, the hash of its bytes, and its licence."""

    file: Label
    sha256: Sha256
    licence: Text


class Graph(StrictModel):
    """One single-file ONNX graph, which includes the preprocessing, and the data to verify it.

    `bytes_per_pixel` is the measured memory of a run, in bytes per pixel of the input. The service derives the tile
    size from it, for graphs that take images of any size. `weight_bits` (format 2) are the bits in use of the
    weights of an int8 graph: 7 for processors on which sums of two products of 8-bit numbers overflow.
    """

    operation: Operation
    precision: Precision
    file: GraphFile
    sha256: Sha256
    probe: Probe
    parity: list[Parity]
    bytes_per_pixel: Annotated[FiniteFloat, Field(gt=0)] | None = None
    weight_bits: Literal[7, 8] = Field(default=8, exclude_if=_is_eight)

    @model_validator(mode="after")
    def _weight_bits_are_of_int8(self) -> Self:
        if self.weight_bits != 8 and self.precision != "int8":
            raise ValueError(f"{self.file} has weight_bits, which only int8 graphs have")
        return self


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


FORMAT_2_FIELDS = ("columns", "threshold", "origin", "controls", "noise_map", "bitstream")
"""Fields of the card that format 1 does not have. Graphs have `weight_bits` besides."""


class Card(StrictModel):
    """One version of one model.

    `error_percentiles` are the percentiles 0 to 100 of the mean squared error per item, on the 0..1 scale, of held-out
    data passed through the served `reconstruct` graph.

    The last fields are those of format 2. With `noise_map`, the `denoise` graph has a second output `noise_variance`,
    float32 (N, ceil(H / stride), ceil(W / stride)): the estimated variance of the noise, on the 0..1 scale, in each
    cell of `stride` x `stride` pixels.
    """

    format: Literal[1, 2]
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
    columns: list[Column] = Field(default_factory=list, exclude_if=_is_unused)
    threshold: Threshold | None = Field(default=None, exclude_if=_is_unused)
    origin: Origin | None = Field(default=None, exclude_if=_is_unused)
    controls: list[Control] = Field(default_factory=list, exclude_if=_is_unused)
    noise_map: bool = Field(default=False, exclude_if=_is_unused)
    bitstream: Bitstream | None = Field(default=None, exclude_if=_is_unused)

    @property
    def operations(self) -> list[Operation]:
        """Return the operations of the graphs without repetition, in the order of the card."""
        return list(dict.fromkeys(graph.operation for graph in self.graphs))

    @property
    def any_size(self) -> bool:
        """Whether the model takes images of any size."""
        return isinstance(self.input, ImageInput) and self.input.height is None

    @model_validator(mode="after")
    def _format_1_has_no_new_fields(self) -> Self:
        used = [name for name in FORMAT_2_FIELDS if getattr(self, name)]
        used += ["weight_bits"] if any(graph.weight_bits != 8 for graph in self.graphs) else []
        if self.format == 1 and used:
            raise ValueError(f"{', '.join(used)} need format 2, this card has format 1")
        return self

    @model_validator(mode="after")
    def _graphs_are_distinct(self) -> Self:
        keys = [(graph.operation, graph.precision, graph.weight_bits) for graph in self.graphs]
        files = [graph.file for graph in self.graphs]
        if len(set(keys)) < len(keys) or len(set(files)) < len(files):
            raise ValueError("two graphs must not share a file, or an operation, a precision and weight_bits")
        return self

    @model_validator(mode="after")
    def _controls_are_distinct(self) -> Self:
        if len({control.name for control in self.controls}) < len(self.controls):
            raise ValueError("two controls must not share a name")
        return self

    @model_validator(mode="after")
    def _columns_are_the_features(self) -> Self:
        if not self.columns:
            return self
        features = sum(column.features for column in self.columns)
        if not isinstance(self.input, VectorInput) or features != self.input.features:
            raise ValueError(f"the columns have {features} features, and the input of the model does not")
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("two columns must not share a name")
        return self

    @model_validator(mode="after")
    def _threshold_is_of_reconstruct(self) -> Self:
        if self.threshold and "reconstruct" not in self.operations:
            raise ValueError("a model with a threshold must have a reconstruct graph")
        return self

    @model_validator(mode="after")
    def _noise_map_is_of_any_size(self) -> Self:
        if self.noise_map and not (self.any_size and "denoise" in self.operations):
            raise ValueError("a model with a noise_map must denoise images of any size")
        return self

    @model_validator(mode="after")
    def _bitstream_has_a_table_for_each_number(self) -> Self:
        if self.bitstream is not None:
            sides = [side for side in self.code.shape if side is not None]
            if len(sides) < len(self.code.shape) or self.bitstream.probabilities.shape[0] != prod(sides):
                raise ValueError("a bitstream must have one table for each number of a code of fixed shape")
        return self

    @model_validator(mode="after")
    def _any_size_can_be_tiled(self) -> Self:
        stated = self.receptive_radius is not None, self.stride is not None
        if self.any_size and not all(stated) and (self.format == 1 or any(stated)):
            raise ValueError(
                "a model for images of any size must state receptive_radius and stride; in format 2 both may be null: "
                "the images are then not tiled"
            )
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

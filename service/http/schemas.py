"""Pydantic models of JSON request and response bodies, from which the OpenAPI document is generated.

Responses of the operations are written by faster code; tests check them against these models.
"""

from typing import Annotated, Literal

from pydantic import FailFast, Field, FiniteFloat

from service.card import Card, Operation, StrictModel, Text

# A vector or flat code, or a code with height and width (channels first).
Row = Annotated[list[FiniteFloat] | list[list[list[FiniteFloat]]], Field(union_mode="left_to_right")]
Rows = Annotated[list[Row], FailFast(), Field(min_length=1)]
Percentile = Annotated[FiniteFloat, Field(ge=0, le=100)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]


class ImagesBody(StrictModel):
    """Images to encode, reconstruct or denoise."""

    images: Annotated[list[str], FailFast()] = Field(
        min_length=1, description="images as base64 or as base64 data URIs"
    )


class ValuesBody(StrictModel):
    """Codes to decode, or vectors for a vector model."""

    values: Rows = Field(description="one row per item, in the shape stated by the model's card")


class ProblemDocument(StrictModel):
    """An error (RFC 9457). `type` is stable; `instance` is the request id."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str


class InputChanges(StrictModel):
    """Differences between the image sent and the model's input."""

    original_size: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="width and height of the image sent, if it was resized"
    )
    original_bit_depth: int | None = Field(
        default=None, description="significant bits per sample of the image sent, if not 8"
    )
    truncated: Annotated[FiniteFloat, Field(ge=0, lt=1)] | None = Field(
        default=None, description="share of the image that could be decoded, if the file sent is truncated"
    )


class CodeResult(InputChanges):
    """The code of one item."""

    code: Row


class ImageResult(InputChanges):
    """An output image and its figures."""

    image: str = Field(description="the encoded image as base64")
    type: str = Field(description="media type of the image")
    metadata_dropped: list[str] | None = Field(
        default=None,
        description="kinds of metadata of the image sent that the response does not carry, such as `icc` and `xmp`",
    )
    mse: NonNegative | None = Field(
        default=None, description="mean squared error between input and output, on the 0..1 scale"
    )
    psnr: FiniteFloat | None = Field(
        default=None, description="peak signal-to-noise ratio in dB; null if input and output are identical"
    )
    error_percentile: Percentile | None = Field(
        default=None, description="percentage of held-out inputs with a smaller error"
    )
    unusual: bool | None = Field(default=None, description="whether the error is above the threshold of the model")
    map: str | None = Field(default=None, description="the error map as the base64 of a PNG, if map= asks for it")
    noise_sigma: NonNegative | None = Field(
        default=None, description="estimated standard deviation of the noise, on the 0..1 scale"
    )


class ValuesResult(StrictModel):
    """An output vector and its figures, on the scale of the vector."""

    values: Row
    mse: NonNegative | None = None
    error_percentile: Percentile | None = None
    unusual: bool | None = Field(default=None, description="whether the error is above the threshold of the model")
    contributions: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]] | None = Field(
        default=None, description="fraction (0..1) of the squared error of each column, the largest first, with map="
    )
    noise_sigma: NonNegative | None = None


class FailedResult(StrictModel):
    """The error of one item of a request with several items."""

    error: ProblemDocument


class OperationResponse(StrictModel):
    """The fields that responses of all operations share."""

    model: str
    version: int
    operation: Operation


class EncodeResponse(OperationResponse):
    """Codes, in the order of the items."""

    results: list[CodeResult | FailedResult]


class ImageResponse(OperationResponse):
    """Images or vectors, in the order of the items."""

    columns: list[str] | None = Field(
        default=None, description="names of the numbers of a vector, if the model was trained on a table with a header"
    )
    results: list[ImageResult | ValuesResult | FailedResult]


class Health(StrictModel):
    """The state of the service, or the reason why it is not healthy."""

    status: str


class GraphChoice(StrictModel):
    """An automatic choice of how a graph is executed, and its reason."""

    value: str | int
    reason: str


ModelState = Literal["loaded", "loading", "on demand"]


class ModelSummary(StrictModel):
    """A served model, its versions and how its graphs are executed.

    `execution` is empty while the model is not in memory. `title` and `operations` are so until its card was read.
    """

    name: str
    version: int
    versions: list[int] = Field(description="all versions in the folder; request valid older ones by version=")
    title: str
    operations: list[Operation]
    default_for: list[Operation]
    state: ModelState = Field(
        description="loaded; loading, when the service has just started; or on demand: the next request loads the model"
    )
    execution: dict[Operation, dict[str, GraphChoice]]


class RejectedVersion(StrictModel):
    """A version that is not served, and the reason."""

    name: str
    version: int
    reason: Text


class ModelList(StrictModel):
    """All served models and all rejected versions."""

    models: list[ModelSummary]
    rejected: list[RejectedVersion]


class ModelDetail(ModelSummary):
    """A served model with its whole card."""

    card: Card

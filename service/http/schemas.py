"""The JSON bodies and answers, as pydantic models: the OpenAPI document comes from them. Knows shapes, not values.

A faster writer produces the bytes of the answers; tests prove that they are what these models say.
"""

from typing import Annotated

from pydantic import FailFast, Field, FiniteFloat

from service.card import Card, Operation, StrictModel, Text

# A vector or flat code, or a code with height and width (channels first).
Row = Annotated[list[FiniteFloat] | list[list[list[FiniteFloat]]], Field(union_mode="left_to_right")]
Rows = Annotated[list[Row], FailFast(), Field(min_length=1)]
Percentile = Annotated[FiniteFloat, Field(ge=0, le=100)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]


class ImagesBody(StrictModel):
    """Pictures to encode, reconstruct or denoise."""

    images: Annotated[list[str], FailFast()] = Field(
        min_length=1, description="pictures as base64, or as data URIs with base64"
    )


class ValuesBody(StrictModel):
    """Codes to decode, or the vectors of a vector model."""

    values: Rows = Field(description="one row per item, in the shape that the card states")


class ProblemDocument(StrictModel):
    """RFC 9457. `type` is stable; `instance` is the request's id."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str


class InputChanges(StrictModel):
    """How the picture differed from what the model takes."""

    original_size: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="width and height that came in, where the model's size is another"
    )
    original_bit_depth: int | None = Field(default=None, description="bits a sample that came in, where more than 8")


class CodeResult(InputChanges):
    code: Row


class ImageResult(InputChanges):
    image: str = Field(description="base64")
    type: str = Field(description="media type of the picture")
    mse: NonNegative | None = Field(default=None, description="mean squared error on the 0..1 scale")
    psnr: FiniteFloat | None = Field(default=None, description="in dB; null where the pictures are identical")
    error_percentile: Percentile | None = Field(default=None, description="share of held-out inputs that fare better")
    noise_sigma: NonNegative | None = Field(default=None, description="estimated deviation of the noise, 0..1 scale")


class ValuesResult(StrictModel):
    values: Row
    mse: NonNegative | None = None
    error_percentile: Percentile | None = None
    noise_sigma: NonNegative | None = None


class FailedResult(StrictModel):
    """One failed item among many that did not fail."""

    error: ProblemDocument


class OperationResponse(StrictModel):
    model: str
    version: int
    operation: Operation


class EncodeResponse(OperationResponse):
    results: list[CodeResult | FailedResult]


class ImageResponse(OperationResponse):
    results: list[ImageResult | ValuesResult | FailedResult]


class Health(StrictModel):
    status: str


class Choice(StrictModel):
    value: str | int
    reason: str


class ModelSummary(StrictModel):
    """A served model, how its graphs run and why, and what else lies in its folder."""

    name: str
    version: int
    versions: list[int] = Field(description="all that the folder holds; older good ones answer to version=")
    title: str
    operations: list[Operation]
    default_for: list[Operation]
    execution: dict[Operation, dict[str, Choice]]


class RejectedVersion(StrictModel):
    name: str
    version: int
    reason: Text


class ModelList(StrictModel):
    models: list[ModelSummary]
    rejected: list[RejectedVersion]


class ModelDetail(ModelSummary):
    card: Card

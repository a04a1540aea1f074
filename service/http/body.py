"""From a request body to the input arrays of a graph: parse, measure, decode and preprocess each image."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service import codec
from service.card import Card, Operation
from service.codec import LazyPicture, Picture
from service.codec.signatures import describe_other
from service.config import Settings
from service.engine.images import open_picture, preprocess, stack_rows
from service.errors import InvalidImage, InvalidParameter, Problem, TruncatedImage, UnsupportedImage
from service.http.forms import Form
from service.http.gateways import explain_damage, explain_missing_line_ends
from service.http.media_types import URLENCODED
from service.http.parameters import RequestParameters
from service.http.unpack import BodyKind, unpack
from service.types import Array


@dataclass(slots=True)
class Inputs:
    """Decoded inputs of a request.

    `arrays`: inputs of the graph, N first. `pictures`: the image behind each item, None for items of arrays.
    `problems`: the problem of each item that was not decoded, by its position in the request.
    """

    arrays: list[Array]
    pictures: list[Picture | None]
    problems: dict[int, Problem] = field(default_factory=dict[int, Problem])

    def __len__(self) -> int:
        return len(self.pictures) + len(self.problems)


@dataclass(slots=True)
class ParsedBody:
    """A parsed and measured body: an array, or images of which only the header is read, or their problems.

    `decoded_bytes`: size of all items once decoded.
    """

    kind: BodyKind
    images: Sequence[LazyPicture | Problem]
    array: Array | None
    decoded_bytes: int

    def __len__(self) -> int:
        return len(self.images) if self.array is None else len(self.array)


def parse_body(
    source: bytes | Form, media_type: str, card: Card, operation: Operation, settings: Settings
) -> ParsedBody:
    """Parse and measure a body without decoding images. Raises a 4xx Problem."""
    body = unpack(source, media_type, card, operation, settings.max_items)
    if body.array is not None:
        return ParsedBody(body.kind, (), body.array, body.array.nbytes)
    images: list[LazyPicture | Problem] = []
    decoded_bytes = 0
    for blob in body.blobs:
        try:
            if isinstance(blob, Problem):
                raise blob
            image = open_picture(blob, card, settings)
            decoded_bytes += image.width * image.height * 3
            images.append(image)
        except Problem as problem:
            images.append(_explain(problem.without_traceback(), blob, media_type))
    return ParsedBody(body.kind, images, None, decoded_bytes)


def _explain(problem: Problem, blob: bytes | Problem, media_type: str) -> Problem:
    """Add the likely cause to the problem of an encoded image."""
    if isinstance(blob, bytes):
        known = describe_other(blob) is not None  # then the problem says what the data are
        if isinstance(problem, UnsupportedImage) and not known and (cause := explain_damage(blob)):
            return UnsupportedImage(f"{problem.detail}: {cause}")
        if isinstance(problem, InvalidImage) and media_type == URLENCODED:
            return InvalidImage(problem.detail + explain_missing_line_ends(blob))
    return problem


def decode_inputs(
    body: ParsedBody, card: Card, operation: Operation, settings: Settings, parameters: RequestParameters
) -> Inputs:
    """Decode and preprocess all items, before they can join a batch. An item that fails becomes a problem.

    Raises InvalidParameter if `grayscale` or `truncated` is set and the body is an array.
    """
    if parameters.grayscale and body.array is not None:
        raise InvalidParameter(
            "grayscale: only encoded images can be converted; convert the array to grayscale before sending it"
        )
    if parameters.truncated and body.array is not None:
        raise InvalidParameter("truncated: only encoded images can be truncated, and the body is an array; omit it")
    if body.array is not None:
        return Inputs([body.array], [None] * len(body.array))
    inputs = Inputs([], [])
    rows: list[Array] = []
    for position, image in enumerate(body.images):
        try:
            if isinstance(image, Problem):
                raise image
            picture = image.decode(allow_truncated=parameters.truncated == "allow")
        except Problem as problem:
            if isinstance(problem, TruncatedImage) and problem.can_be_allowed:
                problem.detail += ", or accept the part by truncated=allow"
            inputs.problems[position] = problem.without_traceback()
            continue
        if parameters.grayscale:
            picture.pixels = codec.fit_to_size(picture.pixels, None, None, 1)
        rows.append(preprocess(picture, card, operation, settings))
        inputs.pictures.append(picture)
    inputs.arrays = stack_rows(rows)
    return inputs

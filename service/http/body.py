"""From an unpacked body to the arrays a graph takes: pictures measured, decoded whole and fitted, each on its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service import codec
from service.card import Card, Operation
from service.codec import LazyPicture, Picture
from service.config import Settings
from service.engine.images import open_picture, preprocess
from service.errors import InvalidParameter, Problem
from service.http.parameters import RequestParameters
from service.http.unpack import BodyKind, unpack
from service.types import Array


@dataclass(slots=True)
class Inputs:
    """Arrays (N first) for the graph, the pictures behind their items, and what is wrong with the others by place."""

    arrays: list[Array]
    pictures: list[Picture | None]
    problems: dict[int, Problem] = field(default_factory=dict[int, Problem])

    def __len__(self) -> int:
        return len(self.pictures) + len(self.problems)


@dataclass(slots=True)
class ParsedBody:
    """A body unpacked and measured: an array, or pictures with their headers read (or what is wrong with them).

    `size`: bytes of all once decoded.
    """

    kind: BodyKind
    images: Sequence[LazyPicture | Problem]
    array: Array | None
    decoded_bytes: int

    def __len__(self) -> int:
        return len(self.images) if self.array is None else len(self.array)


def parse_body(data: bytes, content_type: str, card: Card, operation: Operation, settings: Settings) -> ParsedBody:
    """What a body holds, measured but not decoded. Raises a 4xx Problem."""
    body = unpack(data, content_type, card, operation, settings.max_items)
    if body.array is not None:
        return ParsedBody(body.kind, (), body.array, body.array.nbytes)
    images: list[LazyPicture | Problem] = []
    size = 0
    for blob in body.blobs:
        try:
            if isinstance(blob, Problem):
                raise blob
            found = open_picture(blob, card, settings)
            size += found.width * found.height * 3
            images.append(found)
        except Problem as problem:
            images.append(problem.without_traceback())
    return ParsedBody(body.kind, images, None, size)


def decode_inputs(
    parcel: ParsedBody, card: Card, operation: Operation, settings: Settings, parameters: RequestParameters
) -> Inputs:
    """Everything decoded and checked, before it may join others. A bad item is a problem in its place.

    Raises InvalidParameter where grey is asked of what is no picture.
    """
    if parameters.grayscale and parcel.array is not None:
        raise InvalidParameter("grayscale is for encoded images; convert the array to grayscale before sending it")
    if parcel.array is not None:
        return Inputs([parcel.array], [None] * len(parcel.array))
    inputs = Inputs([], [])
    rows: list[Array] = []
    for place, image in enumerate(parcel.images):
        try:
            if isinstance(image, Problem):
                raise image
            picture = image.decode()
        except Problem as problem:
            inputs.problems[place] = problem.without_traceback()
            continue
        if parameters.grayscale:
            picture.pixels = codec.fit_to_size(picture.pixels, None, None, 1)
        rows.append(preprocess(picture, card, operation, settings))
        inputs.pictures.append(picture)
    inputs.arrays = stack_rows(rows)
    return inputs


def stack_rows(rows: list[Array]) -> list[Array]:
    """One array where all rows are alike, else one a row."""
    if len(rows) == 1:
        return [rows[0][np.newaxis]]
    if len({row.shape for row in rows}) == 1:
        return [np.stack(rows)]
    return [row[np.newaxis] for row in rows]

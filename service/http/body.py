"""From an unpacked body to the arrays a graph takes: pictures measured, decoded whole and fitted, each on its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service import codec
from service.card import Card, Operation
from service.codec import Opened, Picture
from service.config import Settings
from service.engine.images import open_picture, prepare
from service.errors import InvalidParameter, Problem
from service.http.parameters import Wish
from service.http.unpack import Origin, unpack
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
class Parcel:
    """A body unpacked and measured: an array, or pictures with their headers read (or what is wrong with them).

    `size`: bytes of all once decoded.
    """

    origin: Origin
    opened: Sequence[Opened | Problem]
    array: Array | None
    size: int

    def __len__(self) -> int:
        return len(self.opened) if self.array is None else len(self.array)


def unwrap(data: bytes, content_type: str, card: Card, operation: Operation, settings: Settings) -> Parcel:
    """What a body holds, measured but not decoded. Raises a 4xx Problem."""
    body = unpack(data, content_type, card, operation, settings.max_items)
    if body.array is not None:
        return Parcel(body.origin, (), body.array, body.array.nbytes)
    opened: list[Opened | Problem] = []
    size = 0
    for blob in body.blobs:
        try:
            if isinstance(blob, Problem):
                raise blob
            found = open_picture(blob, card, settings)
            size += found.width * found.height * 3
            opened.append(found)
        except Problem as problem:
            opened.append(problem.bare())
    return Parcel(body.origin, opened, None, size)


def load(parcel: Parcel, card: Card, operation: Operation, settings: Settings, wish: Wish) -> Inputs:
    """Everything decoded and checked, before it may join others. A bad item is a problem in its place.

    Raises InvalidParameter where grey is asked of what is no picture.
    """
    if wish.grey and parcel.array is not None:
        raise InvalidParameter("grey is for encoded pictures; make the array grey before it is sent")
    if parcel.array is not None:
        return Inputs([parcel.array], [None] * len(parcel.array))
    inputs = Inputs([], [])
    rows: list[Array] = []
    for place, it in enumerate(parcel.opened):
        try:
            if isinstance(it, Problem):
                raise it
            picture = it.decode()
        except Problem as problem:
            inputs.problems[place] = problem.bare()
            continue
        if wish.grey:
            picture.pixels = codec.fit(picture.pixels, None, None, 1)
        rows.append(prepare(picture, card, operation, settings))
        inputs.pictures.append(picture)
    inputs.arrays = batches(rows)
    return inputs


def batches(rows: list[Array]) -> list[Array]:
    """One array where all rows are alike, else one a row."""
    if len(rows) == 1:
        return [rows[0][np.newaxis]]
    if len({row.shape for row in rows}) == 1:
        return [np.stack(rows)]
    return [row[np.newaxis] for row in rows]

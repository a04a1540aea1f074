"""Type aliases shared by several packages."""

from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]
Crop = tuple[int, int, int, int]
"""Pixels to leave out at the top, left, bottom and right of an image."""
TileOutcome = Literal["run", "failed", "dropped"]
"""How a tile ended. It is dropped if its request has ended before it started."""

LoadResult = Literal["loaded", "rejected", "failed"]
"""How an attempt to load a version ended. A version is rejected if its files are invalid."""

Headers = list[tuple[bytes, bytes]]
"""Header names in lower case, and values, as in ASGI messages."""


class GraphKey(NamedTuple):
    """What identifies a graph in metrics: name and version of its model, and its operation."""

    model: str
    version: str
    operation: str

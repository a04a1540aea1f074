"""Type aliases shared by several packages."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]
Headers = list[tuple[bytes, bytes]]
"""Header names in lower case, and values, as in ASGI messages."""


class GraphKey(NamedTuple):
    """What identifies a graph in metrics: name and version of its model, and its operation."""

    model: str
    version: str
    operation: str

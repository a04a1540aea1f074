"""Type aliases that several packages share."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Headers = list[tuple[bytes, bytes]]
"""Header names (lower case) and values, as ASGI has them."""

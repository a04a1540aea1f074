"""Type aliases shared by several packages."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Headers = list[tuple[bytes, bytes]]
"""Header names in lower case, and values, as in ASGI messages."""

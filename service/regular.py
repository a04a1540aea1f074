"""The bytes of a regular file of a model; what is a link, a pipe or a device is refused."""

import os
from pathlib import Path

from service.errors import ModelRefused


def read_bytes(path: Path) -> bytes:
    """The whole of a regular file; links, pipes and devices are refused, not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelRefused(f"{path.name} cannot be opened: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        if not path.is_file():
            raise ModelRefused(f"{path.name} is not a regular file")
        return file.read()

"""The bytes of a regular file of a model; what is a link, a pipe or a device is refused."""

import errno
import os
import stat
from pathlib import Path

from service.errors import ModelRejected

MAX_BYTES = 2 << 30  # bytes; protobuf reads no more


def read_regular_file(path: Path) -> bytes:
    """The whole of a regular file; links, pipes and devices are refused, not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "it is a link; put the file itself there" if error.errno == errno.ELOOP else error.strerror
        raise ModelRejected(f"{path.name} cannot be opened: {reason}") from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ModelRejected(f"{path.name} is not a regular file")
        if found.st_size > MAX_BYTES:
            raise ModelRejected(f"{path.name} has more than the 2 GiB that an ONNX file can have")
        with open(handle, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(handle)

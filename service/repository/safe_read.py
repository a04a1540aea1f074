"""Reads regular files only: links, pipes and devices in a model's folder are rejected."""

import errno
import os
import stat
from pathlib import Path

from service.errors import ModelRejected

MAX_BYTES = 2 << 30  # the largest protobuf message, and so the largest ONNX file


def read_regular_file(path: Path) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`.

    Raises ModelRejected if the file cannot be opened, is a symbolic link, or is not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        reason = "it is a symbolic link; replace it by the file itself" if is_link else error.strerror
        raise ModelRejected(f"{path.name} cannot be opened: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModelRejected(f"{path.name} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise ModelRejected(f"{path.name} is larger than 2 GiB, the limit of ONNX files")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)

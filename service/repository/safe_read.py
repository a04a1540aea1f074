"""Reads regular files only: links, pipes and devices in a model's folder are rejected."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from service.errors import ModelRejected

LINK_HINT = (
    "it is a symbolic link that ends outside the models folder; "
    "replace it by the file itself, or name the folder in HOURGLASS_MODEL_LINK_DIRS"
)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Windows lacks the first two, and would change the ends of lines without the third."""
MAX_BYTES = 2 << 30  # the largest protobuf message, and so the largest ONNX file


def _resolve_inside(path: Path, roots: Sequence[Path]) -> Path:
    """Return the end of a link. It has no link in it, so opening it without following links is safe from a change."""
    target = Path(os.path.realpath(path))
    if not any(target.is_relative_to(os.path.realpath(root)) for root in roots):
        raise ModelRejected(f"{path.name} cannot be opened: {LINK_HINT}")
    return target


def read_regular_file(path: Path, roots: Sequence[Path] = ()) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`.

    A symbolic link is followed if it ends inside one of the folders `roots`. Raises ModelRejected if it ends elsewhere,
    and if the file cannot be opened or is not a regular file.
    """
    if roots and path.is_symlink():
        path = _resolve_inside(path, roots)
    if not NO_FOLLOW and path.is_symlink():
        raise ModelRejected(f"{path.name} cannot be opened: {LINK_HINT}")
    try:
        descriptor = os.open(path, FLAGS | NO_FOLLOW)
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        reason = LINK_HINT if is_link else error.strerror
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

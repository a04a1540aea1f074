"""Atomic writes of files and folders: write to a temporary name, fsync, rename."""

import fcntl
import glob
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import BinaryIO

TEMPORARY_PREFIX = ".tmp-"
"""Prefix of the names of unfinished files and folders."""


def write_atomic(path: Path, content: bytes) -> None:
    """Replace the file `path` by `content`.

    A concurrent reader sees the old or the new file, never a part of it. So does a reader after a power failure.
    Raises OSError if the file cannot be written.
    """
    with open_atomic(path) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path) -> Generator[BinaryIO]:
    """Open a hidden temporary file that replaces `path` when the context ends.

    After an exception the temporary file is deleted and `path` stays as it was. Raises OSError if the file cannot be
    written.
    """
    _remove_stale(path.parent, f"{TEMPORARY_PREFIX}{path.name}-")
    handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock_shared(handle)
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes files that only their owner may read
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # the OSError of a failed write or fsync has no file name
        raise
    fsync(path.parent)


@contextmanager
def temporary_folder(parent: Path) -> Generator[Path]:
    """Create a hidden temporary folder in `parent`, for `commit_folder` to move into place.

    The folder is deleted when the context ends, unless it was moved. `parent` is created if it does not exist, and
    deleted again if it is empty at the end. Raises OSError if `parent` is not writable.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(parent, TEMPORARY_PREFIX)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
    handle = os.open(temporary, os.O_RDONLY)
    try:
        _lock_shared(handle)
        temporary.chmod(0o755)
        yield temporary
    finally:
        os.close(handle)
        rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()  # fails, as intended, if anything was committed to it


def commit_folder(temporary: Path, target: Path) -> None:
    """Rename the folder `temporary` to `target`. Raises OSError if `target` exists and is not empty."""
    for path in temporary.iterdir():
        fsync(path)
    fsync(temporary)
    temporary.rename(target)
    fsync(target.parent)


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be written to `folder`, or to its nearest existing parent."""
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=nearest):
        pass


def fsync(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock_shared(handle: int) -> None:
    """Mark an open file or folder as in use until it is closed. Does nothing on a file system without locks."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)


def _remove_stale(folder: Path, prefix: str) -> None:
    """Delete temporary files and folders that no process holds locked: those of a writer that was killed."""
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(handle)

"""Files that are whole or not there: written beside, forced to the disk, renamed into place. Knows no contents."""

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
"""How the name of everything begins that is not whole yet."""


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; whoever reads meanwhile, or after a power cut, sees the old or the new file."""
    with open_atomic(path) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path) -> Generator[BinaryIO]:
    """A hidden file to fill, which takes the place of `path` when it is whole; after an error it is removed."""
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
            error.filename = str(path)  # a failed write does not know whose it is
        raise
    fsync(path.parent)


@contextmanager
def temporary_folder(parent: Path) -> Generator[Path]:
    """A hidden folder in `parent` to fill; `commit_folder` moves it into place. What was not moved is removed."""
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
            parent.rmdir()  # goes only if nothing was ever settled in it


def commit_folder(temporary: Path, target: Path) -> None:
    """Renames a filled folder to `target`. Raises OSError where `target` exists and is not empty."""
    for path in temporary.iterdir():
        fsync(path)
    fsync(temporary)
    temporary.rename(target)
    fsync(target.parent)


def check_writable(folder: Path) -> None:
    """Raises OSError where nothing can be written into a folder, which need not be there yet."""
    whole = folder.absolute()
    there = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=there):
        pass


def fsync(path: Path) -> None:
    """Forces a file's or a folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock_shared(handle: int) -> None:
    """Marks an open file or folder as in work until it is closed; where a file system knows no locks, does nothing."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)


def _remove_stale(folder: Path, prefix: str) -> None:
    """Removes what begins with `prefix` and is in work no more: its writer was killed."""
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)

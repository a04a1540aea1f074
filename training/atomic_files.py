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

HIDDEN = ".tmp-"
"""How the name of everything begins that is not whole yet."""


def write(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; whoever reads meanwhile, or after a power cut, sees the old or the new file."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """A hidden file to fill, which takes the place of `path` when it is whole; after an error it is removed."""
    _sweep(path.parent, f"{HIDDEN}{path.name}-")
    handle, name = tempfile.mkstemp(prefix=f"{HIDDEN}{path.name}-", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _claim(handle)
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes files that only their owner may read
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # a failed write does not know whose it is
        raise
    sync(path.parent)


@contextmanager
def folder_beside(parent: Path) -> Generator[Path]:
    """A hidden folder in `parent` to fill; `settle` moves it into place. What was not moved at the end is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, HIDDEN)
    beside = Path(tempfile.mkdtemp(prefix=HIDDEN, dir=parent))
    handle = os.open(beside, os.O_RDONLY)
    try:
        _claim(handle)
        beside.chmod(0o755)
        yield beside
    finally:
        os.close(handle)
        rmtree(beside, ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()  # goes only if nothing was ever settled in it


def settle(beside: Path, target: Path) -> None:
    """Renames a filled folder to `target`. Raises OSError where `target` exists and is not empty."""
    for path in beside.iterdir():
        sync(path)
    sync(beside)
    beside.rename(target)
    sync(target.parent)


def probe(folder: Path) -> None:
    """Raises OSError where nothing can be written into a folder, which need not be there yet."""
    whole = folder.absolute()
    there = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=there):
        pass


def sync(path: Path) -> None:
    """Forces a file's or a folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _claim(handle: int) -> None:
    """Marks an open file or folder as in work until it is closed; where a file system knows no locks, does nothing."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)


def _sweep(folder: Path, prefix: str) -> None:
    """Removes what begins with `prefix` and is in work no more: its writer was killed."""
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)

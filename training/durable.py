"""Files that are whole or not there: written beside, forced to the disk, renamed into place. Knows no contents."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree


def write(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; whoever reads meanwhile, or after a power cut, sees the old or the new file."""
    handle, name = tempfile.mkstemp(prefix=f".tmp-{path.name}-", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes files that only their owner may read
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def folder_beside(parent: Path) -> Generator[Path]:
    """A hidden folder in `parent` to fill; `settle` moves it into place. What was not moved at the end is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parent))
    try:
        beside.chmod(0o755)
        yield beside
    finally:
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


def sync(path: Path) -> None:
    """Forces a file's or a folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A file of decoded images that is mapped into memory, written once and continued where it was stopped."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

PROBLEMS: tuple[Literal["", "broken", "copy"], ...] = ("", "broken", "copy")
"""What may prevent an image from being used; the journal has their indices."""
JOURNAL = np.dtype([("problem", "u1"), ("digest", "u1", 16)])
"""A record of the journal: one for each file, in order."""
REPORT_SECONDS = 10.0
"""Seconds between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file: the digest of its content, and its pixels, uint8 H,W,C, or why it has none."""

    digest: bytes
    pixels: NDArray[np.uint8] | None
    problem: Literal["", "broken", "copy"] = ""


@dataclass(frozen=True, slots=True)
class CachedItems:
    """The images that can be used, uint8 N,H,W,C, mapped from a file, and the problem of every file."""

    items: NDArray[np.uint8]
    problems: list[Literal["", "broken", "copy"]]


def cache_items(
    folder: Path, paths: Sequence[Path], shape: tuple[int, int, int], read: Callable[[Path], Reading], seen: set[bytes]
) -> CachedItems:
    """Return the images of `paths` from the cache, and read those that it does not have yet.

    Args:
        folder: the folder of the cache.
        paths: the files of the images.
        shape: height, width and channels of every image that `read` returns.
        read: reads one file.
        seen: the digests of the files that were read; those in the cache are added to it.

    Raises:
        OSError: the cache cannot be written. If there is no space left, what was written is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = folder / _fingerprint(paths, shape)
    pixels, journal = name.with_suffix(".pixels"), name.with_suffix(".journal")
    try:
        _continue(pixels, journal, paths, int(np.prod(shape)), read, seen)
    except OSError as error:
        pixels.unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
        error.filename = error.filename or str(pixels)
        raise
    problems = [PROBLEMS[number] for number in _read_journal(journal)["problem"]]
    count = problems.count("")
    if not count:
        return CachedItems(np.empty((0, *shape), np.uint8), problems)
    # Copy on write: torch wants writable arrays, and nothing writes.
    return CachedItems(np.memmap(pixels, np.uint8, "c", shape=(count, *shape)), problems)


def _continue(
    pixels: Path, journal: Path, paths: Sequence[Path], size: int, read: Callable[[Path], Reading], seen: set[bytes]
) -> None:
    """Append the files that the journal does not have. A record is written after its pixels."""
    records = _read_journal(journal)
    kept = int((records["problem"] == 0).sum())
    if not pixels.exists() or pixels.stat().st_size < kept * size:
        records, kept = records[:0], 0
    seen.update(record.tobytes() for record in records["digest"])
    if len(records) == len(paths):
        return
    log.warning(
        "%d of %d images are read into %s, once; stopped, it continues there",
        len(paths) - len(records),
        len(paths),
        pixels,
    )
    reported = monotonic()
    with pixels.open("ab") as out, journal.open("ab") as record_file:
        out.truncate(kept * size)
        record_file.truncate(len(records) * JOURNAL.itemsize)
        for number, path in enumerate(paths[len(records) :], len(records) + 1):
            item = read(path)
            if item.pixels is not None:
                out.write(np.ascontiguousarray(item.pixels).data)
                out.flush()
            record_file.write(bytes([PROBLEMS.index(item.problem)]) + item.digest.ljust(16, b"\0"))
            record_file.flush()
            if monotonic() - reported > REPORT_SECONDS:
                log.warning("%d of %d images are read", number, len(paths))
                reported = monotonic()


def _read_journal(path: Path) -> NDArray[np.void]:
    """Return the complete records of a journal; none if there is no file."""
    content = path.read_bytes() if path.exists() else b""
    whole = len(content) // JOURNAL.itemsize
    return np.frombuffer(content[: whole * JOURNAL.itemsize], JOURNAL)


def _fingerprint(paths: Sequence[Path], shape: tuple[int, int, int]) -> str:
    """Return a name for the places, sizes and times of the files, and the shape of the images."""
    digest = hashlib.sha256(f"1 {shape}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"\n{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]

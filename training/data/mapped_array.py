"""Large .npy files: converted once, in blocks, into a file of the cache that is mapped into memory.

Neither the file nor its copy is ever in memory as a whole. The training items come first in the copy, then the test
items, so that both are slices of one mapped file.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from training.data.array_rows import RowPlan, blocks, plan_rows
from training.data.columns import TablePolicy
from training.data.dataset import Items, held_out_mask
from training.data.downloads import cache_folder
from training.errors import DataError

log = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 256 << 20
"""Largest .npy file that is read into memory."""
REPORT_SECONDS = 10.0
"""Seconds between two reports of progress."""


@dataclass(frozen=True, slots=True)
class MappedItems:
    """Training and test items, both mapped from a file."""

    train: Items
    test: Items


def is_large(path: Path) -> bool:
    """Whether a file is a .npy file that is too large to be read into memory."""
    return path.suffix.lower() == ".npy" and path.is_file() and path.stat().st_size > MAX_MEMORY_BYTES


def open_array(path: Path) -> NDArray[Any]:
    """Map a .npy file. Raises DataError if it is none."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"it cannot be read as an array: {error}") from error


def map_items(path: Path, policy: TablePolicy, test_fraction: float, convert: Callable[[Any], Items]) -> MappedItems:
    """Return the items of a .npy file, of which a fraction is held out, mapped from the cache.

    Args:
        path: the file.
        policy: which rows and columns of an array (N, F) are used.
        test_fraction: the fraction of the items that is held out.
        convert: makes items of a part of the array, or raises DataError.

    Raises:
        DataError: the array has no items that can be used, with what to do.
        OSError: the cache cannot be written; then nothing is left there.
    """
    array = open_array(path)
    copy = cache_folder() / "arrays" / f"{_fingerprint(path, policy, test_fraction)}.npy"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        log.warning("%s is copied to %s, once, and mapped from there", path, copy)
        unfinished = copy.with_suffix(f".{os.getpid()}.unfinished")
        try:
            plan = plan_rows(path, array, policy) if array.ndim == 2 else None
            _write(array, plan, test_fraction, convert, unfinished)
            unfinished.replace(copy)
        except OSError as error:
            error.filename = error.filename or str(copy)
            raise
        finally:
            unfinished.unlink(missing_ok=True)
    # Copy on write: torch wants writable arrays, and nothing writes.
    items: Any = np.load(copy, mmap_mode="c", allow_pickle=False)
    count = len(items) - int(held_out_mask(len(items), test_fraction).sum())
    return MappedItems(items[:count], items[count:])


def _write(
    array: NDArray[Any], plan: RowPlan | None, test_fraction: float, convert: Callable[[Any], Items], copy: Path
) -> None:
    """Write the items of an array as a .npy file in the order training, test."""
    count = len(array) if plan is None else int(plan.keep.sum())
    held = held_out_mask(count, test_fraction)
    done, reported = 0, monotonic()
    places: dict[bool, int] = {}
    with copy.open("wb") as out:
        for start, block in blocks(array):
            rows = block if plan is None else plan.apply(block, start)
            if not len(rows):
                continue
            items = convert(rows)
            if not places:
                header = {"descr": items.dtype.str, "fortran_order": False, "shape": (count, *items.shape[1:])}
                write_array_header_1_0(out, header)
                places = {False: out.tell(), True: out.tell() + items[0].nbytes * int((~held).sum())}
            for test in (False, True):
                part = np.ascontiguousarray(items[held[done : done + len(items)] == test])
                out.seek(places[test])
                out.write(part.data)
                places[test] += part.nbytes
            done += len(items)
            if monotonic() - reported > REPORT_SECONDS:
                log.warning("%d of %d items are copied", done, count)
                reported = monotonic()


def _fingerprint(path: Path, policy: TablePolicy, test_fraction: float) -> str:
    """Return a name for the place, size and time of the file, and how it is read."""
    status = path.stat()
    keys = policy.model_dump_json(include={"missing", "drop", "rows"})
    text = f"1 {path.resolve()} {status.st_size} {status.st_mtime_ns} {keys} {test_fraction}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]

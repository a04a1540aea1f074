"""Sets glibc's allocator up so that the memory of a large request returns to the operating system."""

import ctypes
import os
from collections.abc import Mapping

# Buffers of images and tiles are larger than this and get mappings of their own. Batches of small items are smaller.
MMAP_THRESHOLD = 2 << 20
MAX_ARENAS = 2

# Parameters of mallopt(3), with the environment variables that set them before the process starts.
M_MMAP_THRESHOLD = (-3, "MALLOC_MMAP_THRESHOLD_")
M_ARENA_MAX = (-8, "MALLOC_ARENA_MAX")


def limit_fragmentation(environ: Mapping[str, str] = os.environ) -> bool:
    """Bound the arenas of malloc, and map large blocks. Return False where the C library is not glibc.

    By default glibc raises its threshold for mappings to the size of the largest block freed, up to 32 MiB, and has
    eight arenas per core. Buffers of photographs then lie in the heaps of many threads and fragment them.
    Parameters that `environ` sets are left as they are.
    """
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    for (parameter, variable), value in ((M_MMAP_THRESHOLD, MMAP_THRESHOLD), (M_ARENA_MAX, MAX_ARENAS)):
        if variable not in environ:
            mallopt(parameter, value)
    return True


def release_free_memory() -> None:
    """Return free memory of the heaps to the operating system; takes a millisecond. Nothing happens without glibc."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) and bool(os.confstr("CS_GNU_LIBC_VERSION"))

"""The allocator of C: freed memory of large requests returns to the operating system."""

import subprocess
import sys

import pytest

from service.runtime.allocator import limit_fragmentation

# Frees blocks of 24 MiB in several threads beside small blocks that stay, then prints how much more memory is resident.
PROGRAM = """
import threading
from pathlib import Path
{setup}
import numpy as np

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10

kept = []
def work():
    for _ in range(6):
        blocks = [np.ones(24 << 20, np.uint8) for _ in range(2)]
        kept.append(np.ones(200_000, np.uint8))
        del blocks[0]
        kept.append(np.ones(200_000, np.uint8))

np.ones(24 << 20, np.uint8)
before = resident()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(resident() - before)
"""
SETUP = "from service.runtime.allocator import limit_fragmentation; limit_fragmentation()"


def growth_mib(setup: str) -> int:
    return int(
        subprocess.run([sys.executable, "-c", PROGRAM.format(setup=setup)], capture_output=True, text=True).stdout
    )


@pytest.mark.skipif(not limit_fragmentation({"MALLOC_MMAP_THRESHOLD_": "", "MALLOC_ARENA_MAX": ""}), reason="not glibc")
def test_freed_buffers_return_to_the_system() -> None:
    assert growth_mib(SETUP) <= 24  # what is kept has 10 MiB
    assert growth_mib("pass") > 48  # the default of glibc


HEAP_PROGRAM = """
from pathlib import Path
from service.runtime.allocator import release_free_memory

def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) >> 10

small = [bytes(50_000) for _ in range(2000)]
pin = bytes(50_000)
held = resident()
del small
between = resident()
release_free_memory()
print(held - between, held - resident())
"""


@pytest.mark.skipif(not limit_fragmentation({"MALLOC_MMAP_THRESHOLD_": "", "MALLOC_ARENA_MAX": ""}), reason="not glibc")
def test_free_parts_of_the_heap_return_to_the_system() -> None:
    run = subprocess.run([sys.executable, "-c", HEAP_PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before < 20  # the heap keeps what lies below a block in use
    assert after > 80


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.confstr_names", {})
    assert not limit_fragmentation({})

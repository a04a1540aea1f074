"""Detects the CPU cores and instructions that this process can use."""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Generic, TypeVar

from service.runtime.cgroups import read_limits

T = TypeVar("T", covariant=True)

INT8_CPU_FLAGS = ("avx512_vnni", "avx_vnni", "i8mm", "asimddp")  # names in /proc/cpuinfo, on x86 and ARM


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A value that was chosen automatically, and the reason."""

    value: T
    reason: str


def available_cores() -> Choice[int]:
    """Return the number of CPU cores for this process, by its affinity and the smallest quota of its cgroups."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_limits().cores
    if quota is not None and ceil(quota) < affinity:
        return Choice(max(1, ceil(quota)), f"the cgroup quota is {quota:g} of {affinity} cores")
    return Choice(affinity, f"the CPU affinity is {affinity} cores, and no cgroup quota is smaller")


def has_int8_instructions() -> Choice[bool]:
    """Return whether the CPU has instructions for dot products of 8-bit integers.

    Without them, int8 graphs are slow, and their intermediate sums saturate on x86.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return Choice(False, "the CPU flags cannot be read on this system")
    flag = next((name for name in INT8_CPU_FLAGS if name in flags), None)
    return Choice(True, f"this CPU has {flag}") if flag else Choice(False, "this CPU has no int8 instructions")

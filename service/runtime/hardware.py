"""Detects the CPU cores that this process can use."""

import os
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

from service.runtime.cgroups import read_limits

T = TypeVar("T", covariant=True)


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

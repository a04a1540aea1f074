"""What this process may use of the machine, and how an automatic choice is told: with its reason."""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)

INT8_CPU_FLAGS = ("avx512_vnni", "avx_vnni", "i8mm", "asimddp")  # as Linux names them, on x86 and ARM


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """An automatic choice and its reason."""

    value: T
    reason: str


def available_cores() -> Choice[int]:
    """The processors this process may really use: its affinity, cut by the control group's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None and ceil(quota) < affinity:
        return Choice(max(1, ceil(quota)), f"the control group grants {quota:g} of {affinity} processors")
    return Choice(affinity, f"{affinity} processors by affinity, no smaller quota")


def has_int8_instructions() -> Choice[bool]:
    """Whether this processor adds up products of 8-bit numbers in one instruction; others are slow and saturate."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return Choice(False, "this system does not say what its processor can do")
    found = next((name for name in INT8_CPU_FLAGS if name in words), None)
    return Choice(True, f"this processor has {found}") if found else Choice(False, "this processor has no VNNI")


def _cgroup_quota() -> float | None:
    """Processors granted by cgroup v2 or v1, or None where unlimited or unknown."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)

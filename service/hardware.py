"""What this process may use of the machine, and how an automatic choice is told: with its reason."""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """An automatic choice and its reason."""

    value: T
    reason: str


def cores() -> Choice[int]:
    """The processors this process may really use: its affinity, cut by the control group's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None and ceil(quota) < affinity:
        return Choice(max(1, ceil(quota)), f"the control group grants {quota:g} of {affinity} processors")
    return Choice(affinity, f"{affinity} processors by affinity, no smaller quota")


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

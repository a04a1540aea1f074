"""Reads the limits of the control groups that this process is in: CPU time and memory, of versions 1 and 2.

A limit may be set on any ancestor of the group of the process, so the smallest one counts.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

UNLIMITED_BYTES = 1 << 60  # version 1 writes a number near 2^63 for no limit


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The CPU cores by quota and the bytes of memory that this process may use; None if there is no limit."""

    cores: float | None = None
    memory_bytes: int | None = None


def read_limits(root: Path = Path("/")) -> HostLimits:
    """Return the smallest limits of all control groups of this process. `root` holds proc/ and sys/, for tests."""
    cores: list[float] = []
    memory: list[int] = []
    for folder in _group_folders(root):
        cores += _cores(folder)
        memory += [
            value
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
            if (value := _number(folder / name)) and value < UNLIMITED_BYTES
        ]
    return HostLimits(min(cores, default=None), min(memory, default=None))


def _cores(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    if quota_us and period_us and quota_us > 0:
        yield quota_us / period_us


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _group_folders(root: Path) -> Iterator[Path]:
    """Yield the folder of every control group of this process and of its ancestors, as far as they are mounted."""
    groups = _groups(root / "proc/self/cgroup")
    for mount, mounted_group, controllers in _mounts(root / "proc/self/mountinfo"):
        group = next((path for name, path in groups.items() if name in controllers), None)
        if group is None:
            continue
        top = root / mount.lstrip("/")
        inside = group.removeprefix(mounted_group) if mounted_group != "/" else group
        folder = top / inside.lstrip("/")
        # In a container the path may be that of the host, which is not mounted here: its own group is the top.
        if ".." in Path(inside).parts or not folder.is_dir():
            folder = top
        while True:
            yield folder
            if folder == top:
                break
            folder = folder.parent


def _groups(file: Path) -> dict[str, str]:
    """Return the group by controller; that of version 2 is under an empty name."""
    groups: dict[str, str] = {}
    with suppress(OSError):
        for line in file.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _mounts(file: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the mount point, the group mounted there, and the controllers of every control group file system."""
    with suppress(OSError):
        for line in file.read_text().splitlines():
            before, _, after = line.partition(" - ")
            fields, kind = before.split(), after.split()
            if kind[0] == "cgroup2":
                yield fields[4], fields[3], [""]
            elif kind[0] == "cgroup":
                yield fields[4], fields[3], [name for name in kind[2].split(",") if name in ("cpu", "memory")]

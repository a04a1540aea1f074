"""Limits of the host: control groups of both versions, nested and in containers, and the bounds derived from them."""

from pathlib import Path

import pytest

from service.config import Settings
from service.engine.admission import Admission, Demand, GraphLoad
from service.errors import Overloaded
from service.runtime.cgroups import HostLimits, read_limits
from service.runtime.memory import BYTES_PER_DECODED_BYTE, max_workers, plan_memory
from tests.support.compatibility import accepts, refuses

MIB = 1 << 20
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V1_CPU = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def tree(root: Path, groups: str, mounts: str, **files: str) -> HostLimits:
    """The limits read from a faked file system; in the names of `files`, two underscores are a slash, one a dot."""
    contents = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    for name, content in files.items():
        contents["sys/fs/cgroup/" + name.replace("__", "/").replace("_DOT_", ".")] = content
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return read_limits(root)


@accepts(22, "control groups of version 2", oracle="a tree of files as the kernel writes it")
def test_a_container_of_version_2_sees_its_own_group(tmp_path: Path) -> None:
    limits = tree(tmp_path, "0::/\n", V2.format(root="/"), cpu_DOT_max="150000 100000\n", memory_DOT_max="536870912\n")
    assert limits == HostLimits(1.5, 512 * MIB)


@accepts(22, "nested control groups: the smallest limit counts", oracle="a tree of files as the kernel writes it")
def test_the_smallest_limit_of_all_ancestors_counts(tmp_path: Path) -> None:
    limits = tree(
        tmp_path,
        "0::/system.slice/hourglass.service\n",
        V2.format(root="/"),
        system_DOT_slice__cpu_DOT_max="100000 100000",
        system_DOT_slice__memory_DOT_max="max",
        system_DOT_slice__hourglass_DOT_service__cpu_DOT_max="400000 100000",
        system_DOT_slice__hourglass_DOT_service__memory_DOT_max="1073741824",
        system_DOT_slice__hourglass_DOT_service__memory_DOT_high="536870912",
    )
    assert limits == HostLimits(1.0, 512 * MIB)


@accepts(22, "a unit of systemd", oracle="a tree of files as the kernel writes it")
def test_a_quota_of_a_unit_of_systemd_is_read(tmp_path: Path) -> None:
    limits = tree(
        tmp_path,
        "0::/user.slice/user-1000.slice/run-u7.scope\n",
        V2.format(root="/"),
        **{"user_DOT_slice__user-1000_DOT_slice__run-u7_DOT_scope__cpu_DOT_max": "50000 100000"},
    )
    assert limits == HostLimits(0.5, None)


@accepts(22, "a group outside the mounted namespace", oracle="a tree of files as the kernel writes it")
def test_a_group_outside_the_mounted_namespace_means_the_top(tmp_path: Path) -> None:
    limits = tree(tmp_path, "0::/../../other\n", V2.format(root="/"), cpu_DOT_max="200000 100000")
    assert limits.cores == 2


@accepts(22, "control groups of version 1", oracle="a tree of files as the kernel writes it")
def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    limits = tree(
        tmp_path,
        "4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/\n",
        V1_CPU.format(root="/") + V1_MEMORY.format(root="/") + HYBRID,
        **{"cpu,cpuacct__a__cpu_DOT_cfs_quota_us": "250000", "cpu,cpuacct__a__cpu_DOT_cfs_period_us": "100000"},
        memory__a__memory_DOT_limit_in_bytes="536870912",
        memory__a__b__memory_DOT_limit_in_bytes="9223372036854771712",
    )
    assert limits == HostLimits(2.5, 512 * MIB)


@accepts(22, "a container of version 1, with the path of the host", oracle="a tree of files as the kernel writes it")
def test_a_container_of_version_1_has_the_path_of_the_host(tmp_path: Path) -> None:
    limits = tree(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
        V1_CPU.format(root="/docker/abc") + V1_MEMORY.format(root="/docker/abc"),
        **{"cpu,cpuacct__cpu_DOT_cfs_quota_us": "-1", "cpu,cpuacct__cpu_DOT_cfs_period_us": "100000"},
        memory__memory_DOT_limit_in_bytes="268435456",
    )
    assert limits == HostLimits(None, 256 * MIB)


@accepts(22, "files without a quota", oracle="no limit", cases="{content}")
@pytest.mark.parametrize("content", ["", "max 100000", "nonsense", "100000 0"])
def test_what_is_no_quota_is_no_limit(tmp_path: Path, content: str) -> None:
    assert tree(tmp_path, "0::/\n", V2.format(root="/"), cpu_DOT_max=content) == HostLimits()


@accepts(22, "a system without control groups", oracle="no limit")
def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert read_limits(tmp_path) == HostLimits()


def plan(limit: int | None, workers: int = 1) -> tuple[int, int, bool]:
    result = plan_memory(limit, workers=workers, inflight_bytes=1024 * MIB, tile_bytes=192 * MIB)
    return result.inflight_bytes, result.tile_bytes, result.strict


def test_bounds_without_a_limit_are_those_of_the_settings() -> None:
    assert plan(None) == (1024 * MIB, 192 * MIB, False)
    assert plan(64 << 30) == (1024 * MIB, 192 * MIB, False)


@accepts(22, "memory bounds derived from the limit", oracle="a tenth stays free")
@pytest.mark.parametrize(("limit", "workers"), [(512 * MIB, 1), (1024 * MIB, 1), (1024 * MIB, 2), (4096 * MIB, 4)])
def test_bounds_within_a_limit_leave_a_tenth_of_it(limit: int, workers: int) -> None:
    inflight, tiles, _ = plan(limit, workers)
    assert workers * (150 * MIB + tiles + BYTES_PER_DECODED_BYTE * inflight) < 0.9 * limit
    assert inflight >= 3 * 12_000_000 or limit / workers > 512 * MIB or limit < 512 * MIB


@accepts(22, "12 megapixels within 512 MiB", oracle="the bounds")
def test_a_photo_of_twelve_megapixels_fits_into_512_mib() -> None:
    assert plan(512 * MIB)[0] >= 3 * 12_000_000


def test_workers_without_room_are_not_started() -> None:
    assert max_workers(None) is None
    assert max_workers(512 * MIB) == 1
    assert max_workers(64 * MIB) == 1
    assert max_workers(4096 * MIB) == 13


@refuses(22, "a request that does not fit into the memory limit", because="503 with the limit")
def test_a_request_above_a_strict_limit_is_rejected_even_alone() -> None:
    demand = Demand(1, 36_000_000, GraphLoad(), 1)
    Admission(max_items=10, max_bytes=1_000_000).acquire(demand, 30)
    with pytest.raises(Overloaded, match=r"needs 12.0 megapixels in memory.* has room for 0.3"):
        Admission(max_items=10, max_bytes=1_000_000, strict=True).acquire(demand, 30)


def test_settings_that_are_set_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    from service import state

    monkeypatch.setattr(state, "read_limits", lambda: HostLimits(None, 512 * MIB))
    assert state.memory_plan(Settings(max_inflight_bytes=900 * MIB), 2).inflight_bytes == 900 * MIB
    assert state.memory_plan(Settings(tile_memory_mib=96), 2).tile_bytes == 192 * MIB
    assert state.memory_plan(Settings(), 2).inflight_bytes < 100 * MIB
    assert state.memory_plan(Settings(tile_memory_mib=96), 2, many_images=True).tile_bytes == 192 * MIB


def test_tiles_of_many_images_take_twice_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from service import state

    monkeypatch.setattr(state, "read_limits", lambda: HostLimits(None, None))
    few, many = (state.memory_plan(Settings(), 2, many_images=many) for many in (False, True))
    assert many.tile_bytes == 2 * few.tile_bytes
    monkeypatch.setattr(state, "read_limits", lambda: HostLimits(None, 512 * MIB))
    assert state.memory_plan(Settings(), 2, many_images=True).tile_bytes < few.tile_bytes

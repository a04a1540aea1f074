"""Detection of CPU cores and int8 instructions."""

import os
from pathlib import Path

import pytest

from service.runtime import hardware
from service.runtime.cgroups import HostLimits
from service.runtime.hardware import available_cores, has_int8_instructions


@pytest.mark.parametrize(
    ("quota", "expected", "reason"),
    [
        (None, 8, "affinity is 8 cores"),
        (16.0, 8, "affinity is 8 cores"),
        (2.5, 3, "quota is 2.5 of 8"),
        (0.1, 1, "quota is 0.1 of 8"),
    ],
    ids=["no quota", "quota above the affinity", "quota is rounded up", "at least one core"],
)
def test_cores_are_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int, reason: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    monkeypatch.setattr(hardware, "read_limits", lambda: HostLimits(quota))
    assert available_cores().value == expected
    assert reason in available_cores().reason


def fake_cpu_flags(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Replace the content of /proc/cpuinfo; None makes it unreadable."""

    def read_text(_path: Path) -> str:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("flags : fpu sse2 avx512_vnni", True, "avx512_vnni"),
        ("Features : fp asimd asimddp", True, "asimddp"),
        ("flags : fpu sse2 avx2 avx512_vnni_like", False, "no int8 instructions"),
        (None, False, "cannot be read"),
    ],
    ids=["x86 with VNNI", "ARM with dot products", "x86 without VNNI", "no cpuinfo"],
)
def test_int8_instructions_are_read_from_the_cpu_flags(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: bool, reason: str
) -> None:
    fake_cpu_flags(monkeypatch, text)
    assert has_int8_instructions().value is expected
    assert reason in has_int8_instructions().reason

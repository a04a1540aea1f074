"""Detection of CPU cores and int8 instructions."""

import os

import pytest

from service.runtime import hardware
from service.runtime.cgroups import HostLimits
from service.runtime.hardware import available_cores


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

"""The fuzz targets on their seeds, on corrupted seeds, and on the inputs in tests/findings."""

import random
from pathlib import Path

import pytest

from tests.support.fuzz import FINDINGS, TARGETS, seeds


@pytest.mark.parametrize("target", TARGETS)
def test_targets_accept_valid_and_corrupt_seeds(target: str) -> None:
    chosen = random.Random(1)  # noqa: S311 - not for secrets
    for seed in seeds(target):
        TARGETS[target](seed)
        for _ in range(200):
            broken = bytearray(seed[: chosen.randrange(len(seed) + 1)] if chosen.random() < 0.3 else seed)
            for _ in range(chosen.randrange(1, 9)):
                if broken:
                    broken[chosen.randrange(len(broken))] = chosen.randrange(256)
            TARGETS[target](bytes(broken))


def test_every_target_has_saved_inputs() -> None:
    assert {file.name.partition("-")[0] for file in FINDINGS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("file", sorted(FINDINGS.iterdir()), ids=lambda file: file.name)
def test_saved_findings_raise_no_unexpected_error(file: Path) -> None:
    TARGETS[file.name.partition("-")[0]](file.read_bytes())

"""The fuzzer's targets on what they start from, on that broken a little, and on whatever was ever found."""

import random
from pathlib import Path

import pytest

from tests.support.fuzz import FINDINGS, TARGETS, seeds

FOUND = sorted(FINDINGS.glob("*")) if FINDINGS.exists() else []


@pytest.mark.parametrize("target", TARGETS)
def test_targets_bear_what_is_lawful_and_what_is_nearly_so(target: str) -> None:
    chosen = random.Random(1)  # noqa: S311 - not for secrets
    for seed in seeds(target):
        TARGETS[target](seed)
        for _ in range(200):
            broken = bytearray(seed[: chosen.randrange(len(seed) + 1)] if chosen.random() < 0.3 else seed)
            for _ in range(chosen.randrange(1, 9)):
                if broken:
                    broken[chosen.randrange(len(broken))] = chosen.randrange(256)
            TARGETS[target](bytes(broken))


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_was_found_stays_mended(file: Path) -> None:

    TARGETS[file.name.partition("-")[0]](file.read_bytes())

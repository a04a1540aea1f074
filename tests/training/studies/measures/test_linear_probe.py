"""The linear probe: it finds classes where they are, and the test set chooses nothing."""

import numpy as np
import pytest

from training.studies.measures.linear_probe import STRENGTHS, linear_probe

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 600).astype(np.int64)
CLEAR = (np.eye(3)[LABELS] + 0.1 * RANDOM.normal(size=(600, 3))).astype(np.float32)
NOISE = RANDOM.normal(size=(600, 3)).astype(np.float32)


def test_classes_that_are_there_are_found() -> None:
    assert linear_probe(CLEAR[:300], LABELS[:300], CLEAR[300:], LABELS[300:]).error < 3


def test_nothing_is_found_in_noise() -> None:
    assert linear_probe(NOISE[:300], LABELS[:300], NOISE[300:], LABELS[300:]).error == pytest.approx(
        100 * 2 / 3, abs=10
    )


def test_the_unit_of_the_features_does_not_matter() -> None:
    features = CLEAR + NOISE
    here = linear_probe(features[:300], LABELS[:300], features[300:], LABELS[300:])
    there = linear_probe(features[:300] * 1024, LABELS[:300], features[300:] * 1024, LABELS[300:])
    assert here == there


def test_the_held_out_items_choose_the_strength_not_the_test_set() -> None:
    features = CLEAR + NOISE
    found = [
        linear_probe(features[:300], LABELS[:300], features[300:], answers) for answers in (LABELS[300:], LABELS[:300])
    ]
    assert found[0].strength == found[1].strength
    assert found[0].strength in STRENGTHS

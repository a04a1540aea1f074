"""The linear probe: it separates classes, and the test set selects nothing."""

import numpy as np
import pytest

from training.studies.measures.linear_probe import STRENGTHS, linear_probe

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 600).astype(np.int64)
CLEAR = (np.eye(3)[LABELS] + 0.1 * RANDOM.normal(size=(600, 3))).astype(np.float32)
NOISE = RANDOM.normal(size=(600, 3)).astype(np.float32)


def test_probe_separates_separable_classes() -> None:
    assert linear_probe(CLEAR[:300], LABELS[:300], CLEAR[300:], LABELS[300:]).error < 3


def test_probe_on_noise_is_at_chance() -> None:
    assert linear_probe(NOISE[:300], LABELS[:300], NOISE[300:], LABELS[300:]).error == pytest.approx(
        100 * 2 / 3, abs=10
    )


def test_probe_is_independent_of_feature_scale() -> None:
    features = CLEAR + NOISE
    here = linear_probe(features[:300], LABELS[:300], features[300:], LABELS[300:])
    there = linear_probe(features[:300] * 1024, LABELS[:300], features[300:] * 1024, LABELS[300:])
    assert here == there


def test_regularization_is_chosen_on_held_out_items() -> None:
    features = CLEAR + NOISE
    results = [
        linear_probe(features[:300], LABELS[:300], features[300:], answers) for answers in (LABELS[300:], LABELS[:300])
    ]
    assert results[0].strength == results[1].strength
    assert results[0].strength in STRENGTHS

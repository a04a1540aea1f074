"""The study of copying: its measure is 0 for a copy and 1 for the mean picture, whatever the pictures' contrast."""

import numpy as np
import pytest

from training.data import Dataset, Pixels
from training.studies.base.packing import pack
from training.studies.copying.figures import KINDS
from training.studies.copying.measure import STUDY, normalized_mse, picture_sets, probe_error
from training.studies.measures.arrays import flatten

SIZE = (40, 28, 28, 1)


def drawn(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 200, SIZE, np.uint8)


def test_a_copy_costs_nothing_and_the_mean_picture_one() -> None:
    kinds = picture_sets(drawn(0), drawn(1) // 4)
    assert list(kinds) == list(KINDS)
    assert (kinds["inverted digits"] + kinds["digits"] == 255).all()
    assert set(normalized_mse(flatten, kinds).values()) == {0.0}
    for kind, pictures in kinds.items():
        mean = flatten(pictures).mean(0)
        found = normalized_mse(lambda given, mean=mean: np.tile(mean, (len(given), 1)), {kind: pictures})
        assert found[kind] == pytest.approx(1, abs=1e-4)


def test_noise_is_the_same_for_a_seed_and_no_digit() -> None:
    digits = drawn(0)
    assert (picture_sets(digits, digits, seed=1)["noise"] == picture_sets(digits, digits, seed=1)["noise"]).all()
    assert picture_sets(digits, digits)["noise"].max() == 255


def test_codes_that_hold_the_class_are_told_apart() -> None:
    labels = np.arange(40) % 2
    data = Dataset("a", "b", drawn(0), drawn(1), labels, labels)
    assert probe_error(lambda pictures: labels[: len(pictures), np.newaxis].astype(np.float32), data) == 0
    assert probe_error(lambda pictures: np.zeros((len(pictures), 1), np.float32), data) == 0.5


def test_everything_is_shown_of_stored_results() -> None:
    judged = {**dict.fromkeys(KINDS, 0.5), "error": 0.125}
    nets = ("linear, 1024", "gelu, 1024", "undercomplete, 32", "sparse, 1024")
    results = {
        "seconds": 1.0,
        "sweep": {"2": judged, "1024": judged},
        "pca": {"2": judged, "784": dict.fromkeys(KINDS, 0.0)},
        "nets": dict.fromkeys(nets, judged),
        "pixels_error": 0.1,
        "given": pack(drawn(0)[:4]),
        "copies": {name: pack(drawn(1)[:4]) for name in nets},
    }
    assert [row.value for row in STUDY.rows(results)] == [0.5] * 4 + [12.5] * 4
    assert set(STUDY.plot(results)) == {"sweep", "copies"}
    assert "12.5" in STUDY.summary(results)

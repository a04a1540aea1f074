"""The study of copying: its error is 0 for a copy and 1 for the mean picture, at any contrast."""

import numpy as np
import pytest

from training.data import Dataset, Pixels
from training.evaluation.metrics import flatten
from training.studies.base.packing import pack
from training.studies.copying.figures import KINDS
from training.studies.copying.measure import STUDY, normalized_mse, picture_sets, probe_error

SIZE = (40, 28, 28, 1)


def drawn(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 200, SIZE, np.uint8)


def test_normalized_error_is_0_for_copy_and_1_for_mean() -> None:
    kinds = picture_sets(drawn(0), drawn(1) // 4)
    assert list(kinds) == list(KINDS)
    assert (kinds["inverted digits"] + kinds["digits"] == 255).all()
    assert set(normalized_mse(flatten, kinds).values()) == {0.0}
    for kind, pictures in kinds.items():
        mean = flatten(pictures).mean(0)
        errors = normalized_mse(lambda items, mean=mean: np.tile(mean, (len(items), 1)), {kind: pictures})
        assert errors[kind] == pytest.approx(1, abs=1e-4)


def test_noise_pictures_are_reproducible() -> None:
    digits = drawn(0)
    assert (picture_sets(digits, digits, seed=1)["noise"] == picture_sets(digits, digits, seed=1)["noise"]).all()
    assert picture_sets(digits, digits)["noise"].max() == 255


def test_probe_error_is_zero_for_codes_with_the_class() -> None:
    labels = np.arange(40) % 2
    data = Dataset("a", "b", drawn(0), drawn(1), labels, labels)
    assert probe_error(lambda pictures: labels[: len(pictures), np.newaxis].astype(np.float32), data) == 0
    assert probe_error(lambda pictures: np.zeros((len(pictures), 1), np.float32), data) == 0.5


def test_stored_results_are_reported() -> None:
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

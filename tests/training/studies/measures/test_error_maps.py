"""Maps of the error and their scores, compared with the service and with values worked out by hand."""

import numpy as np
import pytest

from service.engine.error_map import error_map
from training.studies.measures.error_maps import auroc, error_maps, pixel_auroc, region_overlap


@pytest.mark.parametrize("shape", [(2, 64, 64, 1), (2, 50, 130, 3)])
def test_maps_are_those_of_the_service(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    inputs, outputs = (random.integers(0, 256, shape, np.uint8) for _ in range(2))
    expected = [error_map(one, other) for one, other in zip(inputs, outputs, strict=True)]
    assert error_maps(inputs, outputs) == pytest.approx(np.stack(expected), abs=1e-4)


def test_auroc_counts_the_pairs_in_order() -> None:
    assert auroc(np.array([0.0, 2.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(4.5 / 6)


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an ordinary map, and a damaged one with a region of 4 pixels and one of 1 pixel, and the mask."""
    ordinary, damaged, mask = (np.zeros((1, 10, 10)) for _ in range(3))
    damaged[0, 1:3, 1:3], damaged[0, 7, 7] = 1.0, 0.0
    mask[0, 1:3, 1:3], mask[0, 7, 7] = 1, 1
    ordinary[0] = np.linspace(0.1, 0.5, 100).reshape(10, 10)
    return ordinary, damaged, mask.astype(bool)


def test_each_region_counts_the_same_however_large_it_is() -> None:
    ordinary, damaged, mask = maps()
    # The large region is above all ordinary pixels, the small one below those that 0.3 of the false positives are.
    assert region_overlap(ordinary, damaged, mask) == pytest.approx(0.5)
    damaged[0, 7, 7] = 1.0
    assert region_overlap(ordinary, damaged, mask) == pytest.approx(1.0)


def test_random_map_has_the_scores_of_chance() -> None:
    random = np.random.default_rng(0)
    ordinary, damaged = random.random((2, 20, 40, 40))
    mask = np.zeros((20, 40, 40), bool)
    mask[:, 10:20, 10:20] = True
    assert pixel_auroc(ordinary, damaged, mask) == pytest.approx(0.5, abs=0.02)
    assert region_overlap(ordinary, damaged, mask) == pytest.approx(0.15, abs=0.01)

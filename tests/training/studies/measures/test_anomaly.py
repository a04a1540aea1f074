"""The PRO score of anomaly maps, and the generated textures with defects of known place."""

import numpy as np
import pytest

from training.studies.measures.anomaly import region_overlap
from training.studies.measures.textures import draw_textures


def test_pro_is_1_if_defects_score_highest() -> None:
    defects = np.zeros((1, 10, 10), bool)
    defects[0, :2, :2] = defects[0, 6:, 6:] = True
    assert region_overlap(defects + 0.0, defects) == pytest.approx(1)
    assert region_overlap(1.0 - defects, defects) == pytest.approx(0)


def test_pro_counts_small_and_large_regions_alike() -> None:
    defects = np.zeros((1, 20, 20), bool)
    defects[0, 0, 0] = defects[0, 10:, 10:] = True
    found = np.where(defects, 2.0, 1.0)
    found[0, 0, 0] = 0.0
    assert region_overlap(found, defects) == pytest.approx(0.5)


def test_each_damaged_texture_has_a_small_known_defect() -> None:
    damaged = draw_textures(20, seed=3, damaged=True)
    assert (damaged.images == draw_textures(20, seed=3, damaged=True).images).all()
    assert damaged.defects.any((1, 2)).all()
    assert damaged.defects.mean() < 0.1
    assert not draw_textures(4, seed=3).defects.any()

"""The study of defects: its textures, its baselines, and the whole study on a few small images."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from training.studies.base.study import Results
from training.studies.defects import STUDY, baselines, measure
from training.studies.defects.baselines import PATCH, NearestPatch, Pca
from training.studies.defects.textures import GENERATED, SIDE, damage, textures
from training.workspace import Workspace


def test_damage_changes_what_its_mask_covers_and_little_else() -> None:
    random = np.random.default_rng(0)
    grey = np.full((20, SIDE, SIDE, 1), 128, np.uint8)
    damaged = damage(grey, random)
    changed = np.abs(damaged.images[..., 0].astype(int) - 128)
    assert (changed[damaged.masks] >= 0.06 * 0.5 * 255 - 1).all()
    assert (changed[~damaged.masks] <= 0.35 * 0.5 * 255 + 1).all()
    widths = damaged.masks.sum((1, 2))
    assert damaged.scratched.tolist() == [True, False] * 10
    assert widths[damaged.scratched].max() < widths[~damaged.scratched].max() < SIDE**2 / 4
    assert damaged.masks.any((1, 2)).all()


def test_textures_are_reproducible_and_their_parts_differ() -> None:
    first, again = (textures(3, 2, seed=1) for _ in range(2))
    assert set(GENERATED) <= set(first)
    for name, texture in first.items():
        assert np.array_equal(texture.damaged.images, again[name].damaged.images)
        assert [len(part) for part in (texture.train, texture.test, texture.damaged.images)] == [3, 2, 2]
        assert not np.array_equal(texture.train[:2], texture.test)


def test_nearest_patch_is_that_of_a_full_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "CHUNK", 7)
    random = np.random.default_rng(0)
    train, item = (random.integers(0, 256, (count, 12, 12, 1), np.uint8) for count in (3, 1))
    expected, counts = np.zeros((12, 12)), np.zeros((12, 12))
    bank = [
        one[top : top + PATCH, left : left + PATCH].ravel() / 255
        for one in train
        for top in range(12 - PATCH + 1)
        for left in range(12 - PATCH + 1)
    ]
    for top in range(0, 12 - PATCH + 1, baselines.STEP):
        for left in range(0, 12 - PATCH + 1, baselines.STEP):
            window = np.s_[top : top + PATCH, left : left + PATCH]
            expected[window] += cdist([item[0][window].ravel() / 255], bank).min() / PATCH
            counts[window] += 1
    assert NearestPatch(train, seed=0).maps(item)[0] == pytest.approx(expected / counts, abs=1e-4)


def test_principal_components_are_those_of_scikit_learn() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 1), np.uint8)
    peer = PCA(4).fit(images[:20].reshape(20, -1) / 255)
    expected = peer.inverse_transform(peer.transform(images.reshape(30, -1) / 255)).reshape(images.shape)
    ours = Pca(images[:20]).reconstruct(images, 4)
    assert np.abs(ours - 255 * expected.clip(0, 1)).max() < 0.51


def test_study_runs_and_its_text_has_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TRAINING_IMAGES": 70, "TEST_IMAGES": 6, "EPOCHS": 1, "COMPONENTS": (2, 4), "SHOWN": 2}.items():
        monkeypatch.setattr(measure, name, value)
    monkeypatch.setattr(measure, "textures", lambda *sizes: {"stone": textures(*sizes)["stone"]})
    results: Results = STUDY.measure(Workspace(None, tmp_path / "models", tmp_path / "runs", device="cpu"))
    scores = results["textures"]["stone"]["scores"]
    assert {"net", "pca", "nearest patch", "random"} == set(scores)
    assert scores["pca"]["components"] in (2, 4)
    assert f"PCA has {scores['pca']['image']:.3f}" in STUDY.summary(results)
    assert [row.value for row in STUDY.rows(results)][:2] == [scores["net"]["image"], scores["net"]["pixel"]]
    assert {name: len(figure.axes) for name, figure in STUDY.plot(results).items()} == {"maps": 1, "scores": 3}

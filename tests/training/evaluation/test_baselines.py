"""Baselines against textbook formulas, computed in another way."""

import numpy as np
import pytest

from tests.support.training import pictures, vectors
from training.evaluation.baselines import Floats, gaussian, lmmse, mean_item, median, pca


def flat(count: int, seed: int = 0) -> Floats:
    return (pictures(count, seed).reshape(count, -1) / 255).astype(np.float32)


@pytest.mark.parametrize("components", [1, 3, 6])
def test_pca_error_equals_discarded_singular_values(components: int) -> None:
    items = vectors(200)
    centred = items.astype(np.float64) - items.mean(0, dtype=np.float64)
    left = np.square(np.linalg.svd(centred, compute_uv=False)[components:]).sum()
    error = np.square(pca(items, components)(items).astype(np.float64) - items).sum()
    assert error == pytest.approx(left, rel=1e-4, abs=1e-8)


def test_lmmse_equals_least_squares_with_intercept() -> None:
    clean = vectors(500)
    noisy = clean + np.random.default_rng(1).normal(0, 0.3, clean.shape).astype(np.float32)
    design = np.hstack([noisy, np.ones((500, 1))]).astype(np.float64)
    expected = design @ np.linalg.lstsq(design, clean.astype(np.float64))[0]
    np.testing.assert_allclose(lmmse(noisy, clean)(noisy), expected, atol=1e-5)


def test_lmmse_accepts_constant_pixels() -> None:
    clean = flat(200)
    clean[:, :8] = 0
    noisy = clean.copy()
    noisy[:, 8:] += np.random.default_rng(1).normal(0, 0.1, (200, 56)).astype(np.float32)
    restored = lmmse(noisy, clean)(noisy)
    assert np.isfinite(restored).all()
    assert np.square(restored - clean).mean() < np.square(noisy - clean).mean()


def test_mean_baseline_is_the_best_constant() -> None:
    items = vectors(50)
    np.testing.assert_allclose(mean_item(items)(vectors(3, seed=1)), np.tile(items.mean(0), (3, 1)), rtol=1e-6)


def test_filters_work_within_each_picture_and_channel() -> None:
    items = np.zeros((2, 8, 8, 3), np.float32)
    items[0, 4, 4, 1] = 1
    flat_items = items.reshape(2, -1)
    assert not median(8, 8, 3)(flat_items).any()
    blurred = gaussian(8, 8, 3)(flat_items).reshape(items.shape)
    assert blurred.sum() == pytest.approx(1, rel=1e-4)
    assert blurred[0, 4, 4, 1] == blurred.max()
    assert not blurred[1].any()
    assert not blurred[..., [0, 2]].any()

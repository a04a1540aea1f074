"""Measures of the denoising study, against the service and numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.training import pictures, tables
from training.evaluation.metrics import corrupt, to_uint8
from training.loop.batches import as_tensor, to_float
from training.recipe import from_tables, read_recipe
from training.studies.denoising import measure
from training.studies.measures.restoration import affine_map, corrupt_pictures, psnr

HALF: dict[str, Any] = {"kind": "gaussian", "sigma": 0.5}


def test_clipped_noise_is_rounded_to_8_bits(tmp_path: Any) -> None:
    items = pictures(600)
    recipe = from_tables(tables(tmp_path, corruption=HALF))
    stored = to_uint8(corrupt_pictures(HALF, to_float(as_tensor(items)), 3).movedim(1, 3).numpy())
    assert (stored == corrupt(recipe.corruption, items, 3)).all()


def test_unclipped_noise_is_not_rounded() -> None:
    clean = to_float(as_tensor(pictures(50)))
    noise = corrupt_pictures(HALF | {"clip": False}, clean) - clean
    assert noise.std().item() == pytest.approx(0.5, abs=0.05)
    assert (clean + noise).min() < -0.5


def test_psnr_is_computed_from_the_mean_squared_error() -> None:
    restored, clean = torch.rand(7, 1, 4, 4), torch.rand(7, 1, 4, 4)
    expected = 10 * np.log10(1 / np.mean((restored.double().numpy() - clean.double().numpy()) ** 2))
    assert psnr(restored, clean) == pytest.approx(expected, abs=1e-4)
    assert psnr(clean, clean) == pytest.approx(120)


def test_affine_map_restores_pictures() -> None:
    clean = to_float(as_tensor(pictures(500)))
    noisy = corrupt_pictures(HALF, clean)
    restored = affine_map(HALF, clean)(noisy)
    assert restored.shape == clean.shape
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert psnr(restored, clean) > psnr(noisy, clean) + 3


@pytest.mark.parametrize("kind", [measure.MIXTURE, measure.INPUTS["dropout, unscaled"]], ids=str)
def test_corruption_is_formatted_for_set(kind: dict[str, Any]) -> None:
    recipe = read_recipe("digits-denoise", [f"corruption={measure.as_toml(kind)}"])
    assert recipe.corruption.model_dump(exclude_unset=True) == kind

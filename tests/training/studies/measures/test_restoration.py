"""What the study of denoising measures with, against the service's own rule and against numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.training import pictures, tables
from training.evaluation.figures import corrupt, to_uint8
from training.loop.batches import as_tensor, to_float
from training.recipe import from_tables, read_recipe
from training.studies.denoising import measure
from training.studies.measures.restoration import affine_map, corrupt_pictures, psnr

HALF: dict[str, Any] = {"kind": "gaussian", "sigma": 0.5}


def test_what_a_picture_can_store_is_what_the_service_is_given(tmp_path: Any) -> None:
    items = pictures(600)
    recipe = from_tables(tables(tmp_path, corruption=HALF))
    stored = to_uint8(corrupt_pictures(HALF, to_float(as_tensor(items)), 3).movedim(1, 3).numpy())
    assert (stored == corrupt(recipe.corruption, items, 3)).all()


def test_noise_that_is_not_cut_stays_as_it_is() -> None:
    clean = to_float(as_tensor(pictures(50)))
    noise = corrupt_pictures(HALF | {"clip": False}, clean) - clean
    assert noise.std().item() == pytest.approx(0.5, abs=0.05)
    assert (clean + noise).min() < -0.5


def test_decibels_are_of_the_mean_squared_error() -> None:
    made, clean = torch.rand(7, 1, 4, 4), torch.rand(7, 1, 4, 4)
    wanted = 10 * np.log10(1 / np.mean((made.double().numpy() - clean.double().numpy()) ** 2))
    assert psnr(made, clean) == pytest.approx(wanted, abs=1e-4)
    assert psnr(clean, clean) == pytest.approx(120)


def test_the_affine_map_restores_and_answers_pictures() -> None:
    clean = to_float(as_tensor(pictures(500)))
    noisy = corrupt_pictures(HALF, clean)
    made = affine_map(HALF, clean)(noisy)
    assert made.shape == clean.shape
    assert made.min() >= 0
    assert made.max() <= 1
    assert psnr(made, clean) > psnr(noisy, clean) + 3


@pytest.mark.parametrize("kind", [measure.MIXTURE, measure.INPUTS["dropout, unscaled"]], ids=str)
def test_a_kind_is_written_as_set_takes_it(kind: dict[str, Any]) -> None:
    recipe = read_recipe("digits-denoise", [f"corruption={measure.as_toml(kind)}"])
    assert recipe.corruption.model_dump(exclude_unset=True) == kind

"""Validation of denoising during training: PSNR of nets with known output, and the selected weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.support.training import silent, small, tables
from training.data import Dataset, Pairs
from training.data.pairs import PairsSection
from training.data.photos import PhotosSection
from training.errors import DataError, RecipeError
from training.loop.denoising_validation import PAIRS, mean_of_groups, measure_psnr, noisy_sets
from training.loop.fit import fit
from training.loop.run_folder import read_log
from training.recipe import Recipe, from_tables

MODEL = {"name": "cleaner", "operations": ["denoise"]}
NET = {"family": "conv", "widths": [4, 6], "code": 3, "output": "linear"}
MIXTURE = {
    "kind": "mixture",
    "of": [{"kind": "camera"}, {"kind": "gaussian-blind", "high": 0.2}, {"kind": "banding"}, {"kind": "none"}],
}


class Unchanged(nn.Module):
    """A net that returns its input."""

    def __init__(self) -> None:
        super().__init__()
        self.on_device = nn.Parameter(torch.zeros(()))  # states the device of the net

    def forward(self, items: Tensor) -> Tensor:
        return items

    def activate_output(self, output: Tensor) -> Tensor:
        return output


def scenes(count: int, seed: int) -> NDArray[np.uint8]:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    return (smooth * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def denoising(folder: Path, **changes: dict[str, Any]) -> tuple[Recipe, Dataset]:
    """Return the recipe of a small denoiser of colour pictures, and data with four real pairs."""
    settings: dict[str, Any] = {"model": MODEL, "net": NET, "corruption": MIXTURE, "objective": {"loss": "mse"}}
    recipe, data = small(folder, scenes(60, 1), **{**settings, "validation": {"pictures": 5}, **changes})
    clean = scenes(4, 2)
    noisy = np.clip(clean + np.random.default_rng(3).normal(0, 12, clean.shape).round(), 0, 255).astype(np.uint8)
    return recipe, Dataset(data.name, data.licence, data.train, data.test, pairs=Pairs(noisy, clean))


def test_validation_has_sets_for_pairs_and_each_noise(tmp_path: Path) -> None:
    recipe, data = denoising(tmp_path)
    sets, again = noisy_sets(recipe, data, 5), noisy_sets(recipe, data, 5)
    assert list(sets) == [PAIRS, "camera", "15", "25", "50", "banding"]
    assert {name: len(pictures.clean) for name, pictures in sets.items()} == {**dict.fromkeys(sets, 5), PAIRS: 4}
    assert all(torch.equal(sets[name].noisy, again[name].noisy) for name in sets)


def test_psnr_is_averaged_over_pictures(tmp_path: Path) -> None:
    recipe, data = denoising(tmp_path)
    net: Any = Unchanged()
    psnrs = measure_psnr(net, noisy_sets(recipe, data, 5))
    assert data.pairs is not None
    errors = (data.pairs.noisy.astype(float) - data.pairs.clean) ** 2
    assert psnrs[PAIRS] == pytest.approx(np.mean(10 * np.log10(255**2 / errors.mean((1, 2, 3)))), abs=1e-4)
    assert psnrs["25"] == pytest.approx(20.2, abs=1)  # 20 log10(255 / 25); clipping reduces the error slightly


def test_score_weighs_pairs_gaussian_and_others_equally() -> None:
    psnrs = {PAIRS: 40.0, "15": 34.0, "25": 30.0, "50": 26.0, "camera": 38.0, "film": 30.0}
    assert mean_of_groups(psnrs) == pytest.approx((40 + 30 + 34) / 3)
    assert mean_of_groups({"15": 34.0, "25": 30.0}) == pytest.approx(32)


def test_best_validation_weights_are_published(tmp_path: Path) -> None:
    recipe, data = denoising(tmp_path, optimizer={"epochs": 7, "lr": 0.05}, validation={"pictures": 5, "every": 3})
    fitted = fit(recipe, data, tmp_path / "run", silent())
    measured = {line["epoch"]: line["psnr"] for line in read_log(tmp_path / "run") if "psnr" in line}
    assert list(measured) == [3, 6, 7]
    psnrs = measure_psnr(fitted.net, noisy_sets(recipe, data, 5))
    assert mean_of_groups(psnrs) == pytest.approx(max(line["mean"] for line in measured.values()), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {**MODEL, "operations": ["reconstruct"]}}, "add 'denoise'"),
        ({"optimizer": {"validation_fraction": 0.1}}, "remove one of them"),
        ({"validation": {"evry": 2}}, "did you mean every"),
    ],
)
def test_invalid_validation_section_is_rejected(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"model": MODEL, "net": NET, "corruption": MIXTURE, "objective": {"loss": "mse"}}
    with pytest.raises(RecipeError, match=message):
        from_tables(tables(tmp_path, **{**settings, "validation": {}, **changes}))


def test_missing_pairs_of_the_recipe_are_an_error(tmp_path: Path) -> None:
    recipe, data = denoising(tmp_path)
    photos = PhotosSection(source="photos", paths=["p"], licence="CC0-1.0", pairs=PairsSection(path="real"))
    with pytest.raises(DataError, match="the folder real of validation pairs does not exist"):
        noisy_sets(recipe.model_copy(update={"data": photos}), replace(data, pairs=None), 5)


def test_vectors_have_no_psnr(tmp_path: Path) -> None:
    noise = {"kind": "gaussian", "sigma": 0.1}
    recipe, data = small(
        tmp_path,
        np.zeros((40, 6), np.float32),
        model=MODEL,
        net={"family": "dense", "code": 2, "output": "linear"},
        corruption=noise,
        objective={"loss": "mse"},
        validation={},
    )
    with pytest.raises(DataError, match="needs images"):
        noisy_sets(recipe, data, 3)

"""The recipes that come with the package: each takes its first steps, on a few made items of its data's shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.training import pictures, vectors
from training.builtin_recipes import builtin_recipes
from training.data import Dataset
from training.data.arrays import ArraysSection
from training.data.patches import PatchesSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection
from training.loop.trainer import Trainer
from training.recipe import Recipe, read_recipe

STEPS, BATCH = 2, 4
SMALLER = [f"optimizer.batch={BATCH}", "optimizer.epochs=1", "optimizer.compile=false"]


def made_items(recipe: Recipe, count: int) -> NDArray[Any]:
    """Blobs of the size and the channels that the recipe's data has, or vectors as long as its."""
    match recipe.data:
        case SurfaceSection():
            return vectors(count, 3) / 4 + 0.4
        case PatchesSection(side=side):
            return vectors(count, side**2)
        case PhotosSection(side=side):
            channels = 3
        case ArraysSection():
            side, channels = 64, 3
        case _:
            side, channels = 28, 1
    times = np.ones((1, -(-side // 8), -(-side // 8), channels), np.uint8)
    return np.kron(pictures(count), times)[:, :side, :side]


@pytest.mark.parametrize("name", builtin_recipes())
def test_a_shipped_recipe_takes_its_first_steps(name: str, tmp_path: Path) -> None:
    crops = ["augmentation.crop=32"] if read_recipe(name).augmentation.crop else []
    recipe = read_recipe(name, [*SMALLER, *crops]).model_copy(update={"validation": None})  # needs pairs on disk
    items = made_items(recipe, STEPS * BATCH)
    trainer = Trainer(recipe, Dataset("made", "CC0-1.0", items, items[:1]), tmp_path)
    before = [weight.clone() for weight in trainer.state.net.parameters()]
    losses = [trainer.step()[0] for _ in range(STEPS)]
    assert trainer.finished
    assert np.isfinite(losses).all()
    after = list(trainer.state.net.parameters())
    assert any(not old.equal(new) for old, new in zip(before, after, strict=True))

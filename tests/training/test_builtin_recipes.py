"""The shipped recipes: each trains for two steps on synthetic items with the shape of its data."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.training import recipe_items
from training.builtin_recipes import builtin_recipes
from training.data import Dataset
from training.loop.trainer import Trainer
from training.recipe import read_recipe

STEPS, BATCH = 2, 4
SMALLER = [f"optimizer.batch={BATCH}", "optimizer.epochs=1", "optimizer.compile=false"]


@pytest.mark.parametrize("name", builtin_recipes())
def test_shipped_recipe_trains_for_two_steps(name: str, tmp_path: Path) -> None:
    crops = ["augmentation.crop=32"] if read_recipe(name).augmentation.crop else []
    recipe = read_recipe(name, [*SMALLER, *crops]).model_copy(update={"validation": None})  # it needs pairs on disk
    items = recipe_items(recipe.data, STEPS * BATCH)
    trainer = Trainer(recipe, Dataset("synthetic", "CC0-1.0", items, items[:1]), tmp_path)
    before = [weight.clone() for weight in trainer.state.net.parameters()]
    losses = [trainer.step()[0] for _ in range(STEPS)]
    assert trainer.finished
    assert np.isfinite(losses).all()
    after = list(trainer.state.net.parameters())
    assert any(not old.equal(new) for old, new in zip(before, after, strict=True))

"""Defaults of recipes: nothing but a name and data is needed, and the length of a run decides the rest."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from tests.support.training import pictures, vectors
from training.data import load
from training.loop.plan import complete, default_batch, run_length
from training.loop.trainer import Trainer
from training.nets.base import default_code
from training.nets.dense import DenseSection
from training.recipe import OptimizerSection, Recipe, from_tables

REQUIRED = {"model.name", "data.path", "data.paths", "data.source"}


def required_keys(table: type[BaseModel], path: str = "") -> set[str]:
    """Return the dotted keys without a default of a table and the tables in it."""
    keys: set[str] = set()
    for name, field in table.model_fields.items():
        inner = models_in(field.annotation)
        for model in inner:
            keys |= required_keys(model, f"{path}{name}.")
        if field.is_required() and not inner:
            keys.add(f"{path}{name}")
    return keys


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def test_only_the_name_and_the_data_are_required() -> None:
    keys = required_keys(Recipe) - {"data.pairs.path", "stages.name"}
    assert {key for key in keys if not key.endswith((".family", ".kind"))} == REQUIRED


@pytest.mark.parametrize("kind", ["images", "vectors", "folder", "noisy"])
def test_recipe_of_name_and_data_trains(kind: str, tmp_path: Path) -> None:
    tables: dict[str, Any] = {"model": {"name": "mine"}, "data": {"source": "arrays", "path": str(tmp_path / "a.npy")}}
    np.save(tmp_path / "a.npy", vectors(60) * 1000 if kind == "vectors" else pictures(60))
    if kind == "folder":
        for number in range(20):
            Image.fromarray(pictures(1, number)[0, :, :, 0]).save(tmp_path / f"{number}.png")
        tables["data"] = {"source": "folder", "path": str(tmp_path)}
    if kind == "noisy":
        tables["corruption"] = {}
    recipe = from_tables(tables)
    data = load(recipe.data, None)
    trainer = Trainer(recipe, data, tmp_path / "run")
    losses = [trainer.step()[0] for _ in range(200)]
    assert trainer.total_steps == pytest.approx(5000, rel=0.05)
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    completed = complete(recipe, data)
    assert complete(completed, data) == completed
    assert completed.objective.loss == ("mse" if kind == "vectors" else "bce")
    model = completed.model
    assert model.operations == (["denoise"] if kind == "noisy" else ["encode", "decode", "reconstruct"])
    assert (model.title, model.licence) == ("mine", "not stated")
    assert data.name in model.description


@pytest.mark.parametrize(
    ("items", "epochs", "batch", "warmup"),
    [(60_000, 400, 256, 500), (107, 1, 8, 0), (107, 100, 8, 65), (20, 10, 2, 5), (3, 10, 1, 1)],
)
def test_warmup_is_at_most_a_twentieth_of_the_run(items: int, epochs: int, batch: int, warmup: int) -> None:
    length = run_length(OptimizerSection(epochs=epochs), items, 784)
    assert (length.batch, length.warmup) == (batch, warmup)
    assert length.warmup <= epochs * (items // batch) / 20


def test_chosen_values_are_kept() -> None:
    length = run_length(OptimizerSection(epochs=3, batch=7, warmup=50), 100, 784)
    assert (length.epochs, length.batch, length.warmup) == (3, 7, 50)


def test_batch_of_large_images_is_small() -> None:
    assert default_batch(10_000, 28 * 28) == 256
    assert default_batch(10_000, 512 * 512 * 3) == 2
    assert default_batch(10_000, 1 << 30) == 1


@pytest.mark.parametrize(("shape", "size"), [((1,), 1), ((3,), 2), ((140,), 12), ((1, 28, 28), 28), ((3, 64, 64), 64)])
def test_code_is_smaller_than_the_item(shape: tuple[int, ...], size: int) -> None:
    assert default_code(shape) == size


def test_columns_of_any_scale_count_alike() -> None:
    net = DenseSection(code=1).build((3,))
    raw = np.stack([np.arange(50) * 1e6, np.arange(50) * 1e-3, np.full(50, 7.0)], 1).astype(np.float32)
    import torch

    items = torch.from_numpy(raw)
    net.init_from_data(items)
    scaled = net.normalize(items)
    assert scaled.mean(0).abs().max() < 1e-4
    assert scaled.std(0, correction=0).tolist() == pytest.approx([1, 1, 0], abs=1e-4)
    assert torch.allclose(net.scaling.inverse(scaled), items, rtol=1e-5) if net.scaling else False

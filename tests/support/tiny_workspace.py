"""A workspace in which every study is measured within seconds: small data, fits of a few steps, the shipped models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data import Dataset, Labels, Pixels
from training.evaluation.metrics import GraphFunction
from training.export.artifact import read_published
from training.nets import Operation
from training.recipe import read_recipe
from training.studies.measures.arrays import torch_operation
from training.workspace import PublishedModel, TrainedModel, Workspace

MODELS = Path(__file__).parents[2] / "models"
SHORT_FIT = ("optimizer.epochs=1", "optimizer.warmup=0", "optimizer.batch=40", "optimizer.precision=float32")
CODE_SIZES = {"digits-vae-2d": "digits-2d"}
"""For models that are not shipped, a shipped one with a code of the same size, whose card is taken."""
PHOTO_TEST_FOLDER = "bsds500-test"


@dataclass(frozen=True)
class TinyWorkspace(Workspace):
    """Workspace whose `fit` takes a few steps and whose `model` is the shipped one, or else not exported."""

    def fit(self, recipe: str, *changes: str, variant: str = "") -> TrainedModel:
        """Fit the recipe for one epoch."""
        return super().fit(recipe, *changes, *SHORT_FIT, variant=variant)

    def data(self, recipe: str, *changes: str) -> Dataset:
        """Return a small data set with the shapes and classes of the recipe's own."""
        source = read_recipe(recipe, changes).data.source
        if source in ("surface", "ucr"):
            return super().data(recipe, *changes)
        if source == "patches":
            return Dataset("patches", "CC0-1.0", vectors(300, 100), vectors(60, 100))
        if any("beams.csv" in change for change in changes):
            return super().data(recipe, *changes)
        if "data.channels=1" in changes:
            return super().data(recipe, *changes)
        shape = (28, 28, 1) if source in ("mnist", "fashion-mnist") else (16, 16, 3)
        seed = 10 * ("data.source=fashion-mnist" in changes or "data.array=trees" in changes)
        (train, train_labels), (test, test_labels) = (spots(count, shape, seed + count) for count in (120, 40))
        return Dataset(source, "CC0-1.0", train, test, train_labels, test_labels)

    def model(self, recipe: str) -> PublishedModel:
        """Return the shipped model, or one that is fitted now."""
        return super().model(recipe) if (MODELS / recipe).is_dir() else self.publish(self.fit(recipe))

    def publish(self, trained: TrainedModel) -> PublishedModel:
        """Return the net's operations in PyTorch, with the card of a shipped model."""
        graphs: dict[Operation, GraphFunction] = {
            operation: torch_operation(trained.net, operation) for operation in trained.recipe.operations
        }
        card = read_published(MODELS / CODE_SIZES.get(trained.recipe.model.name, "digits") / "1")
        return PublishedModel(trained.recipe, trained.data, card, graphs)


def tiny_workspace(folder: Path) -> TinyWorkspace:
    """Return a workspace below `folder`, with two photographs, two pairs of real noise and a table of heartbeats."""
    random = np.random.default_rng(0)
    for number in range(2):
        path = folder / PHOTO_TEST_FOLDER / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).save(path)
    for number in range(2):
        for end in ("real", "mean"):
            path = folder / "polyu" / f"{number}_{end}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(random.integers(0, 256, (512, 512, 3), np.uint8)).save(path)
    for split, count in (("TRAIN", 120), ("TEST", 80)):
        path = folder / "ecg5000" / f"ECG5000_{split}.tsv"
        path.parent.mkdir(exist_ok=True)
        np.savetxt(path, heartbeats(count), delimiter="\t")
    return TinyWorkspace(folder, MODELS, folder / "runs")


def spots(count: int, shape: tuple[int, int, int], seed: int) -> tuple[Pixels, Labels]:
    """Return pictures uint8 (N, H, W, C) with a bright spot, whose place is that of one of ten classes, and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    height, width, _ = shape
    rows, columns = np.mgrid[:height, :width]
    angle = 2 * np.pi * labels / 10
    top, left = (0.5 + 0.3 * np.sin(angle)) * height, (0.5 + 0.3 * np.cos(angle)) * width
    away = (rows - top[:, None, None]) ** 2 + (columns - left[:, None, None]) ** 2
    bright = 200 * np.exp(-away / 18)[..., np.newaxis] + random.uniform(0, 40, (count, *shape))
    labels[::7] = labels[::7][::-1]  # some are wrong, so that no classifier is perfect
    return bright.astype(np.uint8), labels


def vectors(count: int, features: int) -> NDArray[np.float32]:
    """Return normal vectors float32 N,features."""
    return np.random.default_rng(count).normal(size=(count, features)).astype(np.float32)


def heartbeats(count: int) -> NDArray[np.float64]:
    """Return rows of a class, 1 or 2, and a sine of 20 samples, which has another frequency in class 2: (N, 21)."""
    random = np.random.default_rng(count)
    classes = 1.0 + (np.arange(count) % 4 == 3)
    waves = np.sin(np.linspace(0, 6, 20) * classes[:, np.newaxis]) + random.normal(scale=0.1, size=(count, 20))
    return np.column_stack([classes, waves])


def keys_of(value: Any) -> Any:
    """Return the keys of nested dictionaries, and None in place of packed arrays and any other value."""
    return (
        {key: keys_of(inner) for key, inner in value.items()}
        if isinstance(value, dict) and "dtype" not in value
        else None
    )

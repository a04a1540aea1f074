"""The small world of the training tests: pictures made by a formula, in files, and recipes that fit in a moment."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.cli.commands import main
from training.data import Dataset, load
from training.data.arrays import ArraysSection
from training.data.patches import PatchesSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection
from training.loop.fit import ProgressCallback
from training.recipe import AnyDataSection, Recipe, from_tables

SIDE = 8
TOML = """
[model]
name = "blobs"
title = "Blobs"
description = "Blobs through 4 numbers."
licence = "CC0-1.0"
operations = ["reconstruct"]

[data]
source = "arrays"
path = "blobs.npy"
licence = "CC0-1.0"

[net]
family = "dense"
code = 4

[objective]
loss = "bce"

[optimizer]
epochs = 4
batch = 8
lr = 1e-2
"""
"""Four numbers for the pictures in data/blobs.npy, whose folder is to be given."""


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 N,8,8,1: soft blobs somewhere on black."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    place, width = random.uniform(1, SIDE - 2, (count, 2, 1, 1)), random.uniform(1, 2.5, (count, 1, 1))
    squares = (rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2
    return np.round(255 * np.exp(-squares / (2 * width**2))).astype(np.uint8)[..., np.newaxis]


def vectors(count: int, features: int = 6, seed: int = 0) -> NDArray[np.float32]:
    """float32 N,F: most of the variance in few directions, and a mean that is not 0."""
    random = np.random.default_rng(seed)
    mixing = np.linalg.qr(random.normal(size=(features, features)))[0]
    spread = 2.0 ** -np.arange(features)
    return (random.normal(size=(count, features)) * spread @ mixing + 0.5).astype(np.float32)


def recipe_items(section: AnyDataSection, count: int) -> NDArray[Any]:
    """Return synthetic items with the shape that a data section has: pictures uint8 N,H,W,C, or vectors float32 N,F."""
    match section:
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


def tables(path: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """A recipe on the arrays in a file: 60 steps of a dense net; `changes` replace keys within its tables."""
    recipe: dict[str, Any] = {
        "model": {
            "name": "blobs",
            "title": "Blobs",
            "description": "Blobs through 4 numbers.",
            "licence": "CC0-1.0",
            "operations": ["encode", "decode", "reconstruct"],
        },
        "data": {"source": "arrays", "path": str(path), "licence": "CC0-1.0", "test_fraction": 0.2},
        "net": {"family": "dense", "code": 4},
        "objective": {"loss": "bce"},
        "optimizer": {"epochs": 6, "batch": 8, "lr": 1e-2, "warmup": 3, "ema_decay": 0.9, "seed": 1},
    }
    for table, keys in changes.items():
        recipe[table] = keys if "kind" in keys or "family" in keys else {**recipe.get(table, {}), **keys}
    return recipe


def small(folder: Path, items: NDArray[Any] | None = None, **changes: dict[str, Any]) -> tuple[Recipe, Dataset]:
    """A recipe and its data: 100 blobs (80 to train on, 10 steps an epoch) unless other items are given."""
    path = folder / "items.npy"
    np.save(path, pictures(100) if items is None else items)
    recipe = from_tables(tables(path, **changes))
    return recipe, load(recipe.data, None)


def silent() -> ProgressCallback:
    """Tells nobody."""
    return lambda _step, _total, _loss, _rate: None


def workplace(folder: Path) -> Path:
    """A folder for commands: TOML in blobs.toml, and its data below."""
    (folder / "data").mkdir()
    np.save(folder / "data" / "blobs.npy", pictures(100))
    (folder / "blobs.toml").write_text(TOML)
    return folder


def call(*arguments: str) -> int:
    """The exit status of a command line."""
    try:
        main(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0

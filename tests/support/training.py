"""Data and recipes of the training tests: synthetic pictures and vectors, and recipes that train in a second."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.cli.commands import main
from training.data import Dataset, load
from training.data.arrays import ArraysSection
from training.data.folder import FolderSection
from training.data.patches import PatchesSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection
from training.data.ucr import UcrSection
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
    """Return soft blobs at random positions on black: uint8 N,8,8,1."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    place, width = random.uniform(1, SIDE - 2, (count, 2, 1, 1)), random.uniform(1, 2.5, (count, 1, 1))
    squares = (rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2
    return np.round(255 * np.exp(-squares / (2 * width**2))).astype(np.uint8)[..., np.newaxis]


def vectors(count: int, features: int = 6, seed: int = 0) -> NDArray[np.float32]:
    """Return vectors with most variance in few directions and a nonzero mean: float32 N,F."""
    random = np.random.default_rng(seed)
    mixing = np.linalg.qr(random.normal(size=(features, features)))[0]
    spread = 2.0 ** -np.arange(features)
    return (random.normal(size=(count, features)) * spread @ mixing + 0.5).astype(np.float32)


def recipe_items(section: AnyDataSection, count: int) -> NDArray[Any]:
    """Return synthetic items with the shape that a data section has: pictures uint8 N,H,W,C, or vectors float32 N,F."""
    match section:
        case SurfaceSection():
            return vectors(count, 3) / 4 + 0.4
        case UcrSection():
            return vectors(count, 140)
        case PatchesSection(side=side):
            return vectors(count, side**2)
        case PhotosSection(side=side):
            channels = 3
        case ArraysSection() | FolderSection():
            side, channels = 64, 3
        case _:
            side, channels = 28, 1
    times = np.ones((1, -(-side // 8), -(-side // 8), channels), np.uint8)
    return np.kron(pictures(count), times)[:, :side, :side]


def tables(path: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """Return the tables of a recipe: a dense net on arrays in a file, 60 steps; `changes` replace keys."""
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


def small(folder: Path, items: NDArray[Any] | None = None, /, **changes: dict[str, Any]) -> tuple[Recipe, Dataset]:
    """Return a recipe and its data: 100 blobs (80 for training, 10 steps per epoch), or the given items."""
    path = folder / "items.npy"
    folder.mkdir(exist_ok=True)
    np.save(path, pictures(100) if items is None else items)
    recipe = from_tables(tables(path, **changes))
    return recipe, load(recipe.data, None)


def silent() -> ProgressCallback:
    """Return a progress callback that does nothing."""
    return lambda _step, _total, _loss, _rate: None


def workplace(folder: Path) -> Path:
    """Fill a folder for commands: the recipe TOML in blobs.toml, and its data."""
    (folder / "data").mkdir()
    np.save(folder / "data" / "blobs.npy", pictures(100))
    (folder / "blobs.toml").write_text(TOML)
    return folder


def call(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    try:
        main(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0

"""Every study's `measure` on tiny data: it returns what is stored, and its rows, plots and summary accept that."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training import recipe_items
from training import workspace as workspaces
from training.data import Dataset, load
from training.data.arrays import ArraysSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection
from training.recipe import AnyDataSection, Recipe, read_recipe
from training.studies import STUDIES, Study
from training.workspace import Workspace

ROOT = Path(__file__).parents[3]
TRAIN_ITEMS, TEST_ITEMS = 120, 40
CLASSES = 10
SMALLER = ("optimizer.epochs=1", "optimizer.batch=20", "optimizer.warmup=1")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:invalid value encountered")]
every_study = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def small_recipe(name: str, changes: Any = ()) -> Recipe:
    """Read a recipe as the workspace does, and shorten its training to one epoch."""
    return read_recipe(name, [*changes, *SMALLER])


def small_data(section: AnyDataSection, folder: Path | None) -> Dataset:
    """Return synthetic items with the shape that a data section has; load those that need no download."""
    if isinstance(section, SurfaceSection) or (isinstance(section, ArraysSection) and Path(section.path).is_absolute()):
        return load(section, folder)
    items = recipe_items(section, TRAIN_ITEMS + TEST_ITEMS)
    labels = np.arange(len(items)) % CLASSES
    split = TRAIN_ITEMS
    return Dataset("small", "CC0-1.0", items[:split], items[split:], labels[:split], labels[split:])


def structure(value: Any) -> Any:
    """Return the keys and kinds of stored results without their values; a list has the structure of its first item."""
    if isinstance(value, dict):
        return "array" if "dtype" in value else {key: structure(item) for key, item in value.items()}
    if isinstance(value, list):
        return [structure(item) for item in value[:1]]
    return "text" if isinstance(value, str) else "number"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a workspace with the shipped models, short trainings and synthetic data."""
    monkeypatch.setattr(workspaces, "read_recipe", small_recipe)
    monkeypatch.setattr(workspaces, "load", small_data)
    monkeypatch.setattr("training.loop.guards.COLLAPSE_RATIO", 0.0)  # 6 steps are too few to learn
    monkeypatch.setattr("training.studies.sparsity.measure.MIN_CHANGE", 0.0)  # units of untrained nets draw little
    rivals = dict.fromkeys(("non-local means", "BM3D"), lambda noisy, _: noisy)  # their libraries are optional
    monkeypatch.setattr("training.studies.photos.measure.slow", lambda: rivals)
    workspaces._load.cache_clear()
    copytree(ROOT / "models", tmp_path / "models")
    section = read_recipe("photo").data
    assert isinstance(section, PhotosSection)
    assert section.test_path
    (tmp_path / section.test_path).mkdir()
    Image.fromarray(recipe_items(section, 1)[0][:48, :64]).save(tmp_path / section.test_path / "picture.png")
    return Workspace(tmp_path, tmp_path / "models", tmp_path / "runs")


@every_study
def test_measure_returns_results_as_stored(study: Study, workspace: Workspace) -> None:
    results = json.loads(json.dumps(study.measure(workspace)))
    stored = json.loads((ROOT / "docs" / "lecture" / f"{study.name}.json").read_text())
    assert structure(results) == structure(stored)
    assert study.rows(results)
    assert study.plot(results)
    assert study.summary(results)

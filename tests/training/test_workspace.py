"""The workspace of studies: nothing is fitted, published or read twice."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from tests.support.training import TOML as BLOBS
from tests.support.training import pictures
from training import builtin_recipes
from training import workspace as workspaces
from training.loop.fit import ProgressCallback
from training.workspace import Workspace

TOML = (
    BLOBS.replace('["reconstruct"]', '["encode", "decode", "reconstruct"]')
    .replace("blobs.npy", "items.npy")
    .replace("epochs = 4", "epochs = 2\nwarmup = 3")
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, list[str]]:
    """Return a workspace of one shipped recipe, and the names of the fits that took a step."""
    monkeypatch.setattr(builtin_recipes, "RECIPES_FOLDER", tmp_path)
    (tmp_path / "blobs.toml").write_text(TOML)
    np.save(tmp_path / "items.npy", pictures(60))
    fits: list[str] = []

    @contextmanager
    def progress(name: str) -> Generator[ProgressCallback]:
        yield lambda step, _total, _loss, _rate: fits.append(name) if step == 1 else None

    return Workspace(tmp_path, tmp_path / "models", tmp_path / "runs", progress), fits


def test_model_is_fitted_and_published_once(workspace: tuple[Workspace, list[str]]) -> None:
    shop, fits = workspace
    first, again = shop.model("blobs"), shop.model("blobs")
    assert fits == ["blobs"]
    assert first.card == again.card
    assert first.card.version == 1
    assert first.graphs["reconstruct"](first.data.test).shape == first.data.test.shape


def test_variants_have_their_own_runs(workspace: tuple[Workspace, list[str]]) -> None:
    shop, fits = workspace
    plain, other = shop.fit("blobs"), shop.fit("blobs", "net.code=2", variant="two")
    assert (plain.result.net.code_shape, other.result.net.code_shape) == ((4,), (2,))
    shop.fit("blobs", "net.code=2", variant="two")
    assert fits == ["blobs", "blobs-two"]


def test_data_of_a_recipe_is_read_once(workspace: tuple[Workspace, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Mock(wraps=workspaces.load)
    monkeypatch.setattr(workspaces, "load", reads)
    shop, _ = workspace
    model, trained = shop.model("blobs"), shop.fit("blobs")
    assert model.data is trained.data is shop.data("blobs")
    assert reads.call_count == 1

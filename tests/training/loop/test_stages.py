"""Stages of a recipe: each starts from the weights of the one before, and a stopped fit goes on in its stage."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training import silent, small
from tests.training.loop.test_fit import NOISE, killer, same
from training.data import Dataset
from training.errors import Interrupted, RecipeError
from training.loop.checkpoint import read_weights
from training.loop.stages import fit_stages, stage_runs
from training.recipe import Recipe, from_tables

STILL = {"name": "still", "optimizer": {"lr": 1e-30, "warmup": 0, "epochs": 1}}
MORE_NOISE = {"name": "more-noise", "corruption": {"sigma": 0.6}, "optimizer": {"lr": 2e-3, "checkpoint_every": 4}}


def staged(folder: Path, *stages: dict[str, Any]) -> tuple[Recipe, Dataset]:
    """Return a recipe with these stages, and its data."""
    recipe, data = small(folder, net={"family": "conv", "widths": [4, 6], "code": 3}, corruption=NOISE)
    return from_tables(recipe.model_dump(mode="json", exclude_none=True) | {"stages": list(stages)}), data


def test_stage_starts_from_the_weights_of_the_one_before(tmp_path: Path) -> None:
    recipe, data = staged(tmp_path, STILL)
    fitted = fit_stages(stage_runs(recipe, tmp_path / "run"), data, silent())
    first = read_weights(tmp_path / "run" / "weights.safetensors")
    for name, weights in fitted.net.state_dict().items():
        torch.testing.assert_close(weights, first[name], atol=1e-6, rtol=0)


def test_steps_of_all_stages_are_counted(tmp_path: Path) -> None:
    recipe, data = staged(tmp_path, STILL)
    fitted = fit_stages(stage_runs(recipe, tmp_path / "run"), data, silent())
    assert fitted.steps == 10 * ((recipe.optimizer.epochs or 0) + 1)


@pytest.mark.parametrize("at", [3, 13])
def test_stopped_stage_resumes_to_the_same_bits(tmp_path: Path, at: int) -> None:
    recipe, data = staged(tmp_path, MORE_NOISE)
    whole = fit_stages(stage_runs(recipe, tmp_path / "whole"), data, silent())
    runs = stage_runs(recipe, tmp_path / "stopped")
    seen = 0

    def stop(_step: int, total: int, loss: float, rate: float) -> None:
        nonlocal seen
        seen += 1
        killer(at)(seen, total, loss, rate)

    with pytest.raises(Interrupted):
        fit_stages(runs, data, stop)
    assert same(fit_stages(runs, data, silent(), resume=True), whole)


def test_last_stage_is_published_with_the_list_of_stages(tmp_path: Path) -> None:
    recipe, _ = staged(tmp_path, MORE_NOISE)
    first, last = stage_runs(recipe, tmp_path / "run")
    assert first.recipe.stages == []
    assert [stage.name for stage in last.recipe.stages] == ["more-noise"]
    assert last.recipe.corruption.model_dump()["sigma"] == 0.6
    assert first.recipe.corruption.model_dump()["sigma"] == 0.3
    assert last.folder == tmp_path / "run" / "more-noise"


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([{"name": "a", "optimizer": {"speed": 3}}], "stage a: .*speed"),
        ([{"name": "a"}, {"name": "a"}], "a name of its own"),
        ([{"name": "a", "model": {}}], "model"),
    ],
)
def test_invalid_stage_is_named(stages: list[dict[str, Any]], expected: str) -> None:
    tables = {"model": {"name": "x"}, "data": {"source": "surface"}, "stages": stages}
    with pytest.raises(RecipeError, match=expected):
        from_tables(tables)

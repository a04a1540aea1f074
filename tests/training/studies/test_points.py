"""The study of points: the law of its table, and its figures of stored results."""

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

from tests.conftest import Serve
from training.export.publish import WEIGHTS_FILE, latest_version
from training.loop.checkpoint import read_weights
from training.recipe import read_recipe
from training.studies.base.packing import pack
from training.studies.base.study import Results
from training.studies.points import STIFFNESS, STUDY, beams

MODELS = Path(__file__).parents[3] / "models"


def results() -> Results:
    random = np.random.default_rng(0)
    figures = {
        "net_mse": 0.5,
        "pca_mse": 1.0,
        "parameters": 17,
        "seconds": 1.0,
        "seed": 1,
        "points": pack(random.uniform(size=(9, 3))),
        "made": pack(random.uniform(size=(9, 3))),
        "codes": pack(random.uniform(size=(9, 2))),
    }
    return {"sheet": figures, "table": {**figures, "net_mse": 2.0}, "nearly flat": figures}


def test_beam_table_obeys_its_law_and_is_reproducible() -> None:
    length, load, slope = beams(2000, seed=3).T
    assert (beams(2000, seed=3)[:, 2] == slope).all()
    stiffness = 9.81 * load * (length / 100) ** 2 / (2 * np.radians(slope))
    steep = slope > 5
    assert np.median(stiffness[steep]) == pytest.approx(STIFFNESS, rel=0.01)
    assert length.max() > 100
    assert slope.min() < 1


def test_target_is_the_pca_error_on_the_same_points() -> None:
    assert [(row.target, row.status) for row in STUDY.rows(results())] == [(1.0, "yes"), (1.0, "no")]


def test_plots_show_input_code_and_reconstruction() -> None:
    drawn = STUDY.plot(results())
    assert list(drawn) == ["sheet", "table"]
    labels = [axes.get_xlabel() for axes in drawn["table"].axes]
    assert labels == ["length, cm", "length, cm", "first number"]
    assert "0.50000" in STUDY.summary(results())


def test_published_points_model_equals_torch(tmp_path: Path, serve: Serve) -> None:
    copytree(MODELS / "points-3d", tmp_path / "points-3d")
    client = serve(models_dir=tmp_path, default_denoise="", default_reconstruct="points-3d")
    recipe = read_recipe("points-3d")
    net = recipe.net.build((3,))
    net.load_state_dict(read_weights(latest_version(recipe, MODELS) / WEIGHTS_FILE))
    point = [0.9, 0.5, 0.15]
    answer = client.post("/reconstruct", json={"values": [point]})
    assert answer.status_code == 200, answer.text
    with torch.no_grad():
        expected = net.activate_output(net(torch.tensor([point]))).numpy()
    np.testing.assert_allclose([item["values"] for item in answer.json()["results"]], expected, atol=1e-6)
    assert np.abs(expected - point).max() < 0.1

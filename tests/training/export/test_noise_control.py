"""A net with noise control, from its first step to the service: estimate and strength, exact in batches and tiles."""

import json
import math
from collections.abc import Generator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from starlette.testclient import TestClient
from torch import Generator as RandomGenerator

from service.card import CARD_FILE, Card, read_card
from service.codec import write_npy
from service.config import Settings
from service.http.app import create_app
from service.http.dispatcher import Dispatcher
from service.repository.loader import load_graph
from tests.conftest import pixels, png
from tests.support.training import silent, small
from training.errors import RecipeError, RunError
from training.export.publish import publish
from training.loop.fit import FitResult, fit
from training.nets import ForwardResult
from training.nets.conv import ConvSection
from training.nets.noise_control import draw_strengths
from training.objective import VARIATION_FLOOR, noise_estimate, smoothness
from training.recipe import Recipe, from_tables

SECTION: dict[str, Any] = {
    "family": "conv",
    "widths": [16, 16],
    "code": 16,
    "skips": True,
    "any_size": True,
    "residual": True,
    "output": "linear",
}
CHANGES: dict[str, dict[str, Any]] = {
    "net": {**SECTION, "noise_control": True},
    "corruption": {"kind": "gaussian-blind", "high": 0.2},
    "objective": {"loss": "log_mse", "penalties": {"noise_estimate": 1.0, "smoothness": 0.5}},
    "model": {"operations": ["denoise"], "int8": True},
}


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights of a net without noise control."""
    folder = tmp_path_factory.mktemp("body")
    changes = {**CHANGES, "net": SECTION, "objective": {"loss": "log_mse"}, "optimizer": {"epochs": 1}}
    recipe, data = small(folder, **changes)
    net = fit(recipe, data, folder / "run", silent()).net
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / "body.safetensors")
    return folder / "body.safetensors"


@pytest.fixture(scope="module")
def fitted(body: Path) -> tuple[Recipe, Any, FitResult]:
    """Add noise control to the body."""
    optimizer = {"train": "noise_control", "epochs": 1, "lr": 3e-2}
    recipe, data = small(body.parent, **CHANGES, optimizer=optimizer)
    return recipe, data, fit(recipe, data, body.parent / "control", silent(), init=body)


@pytest.fixture(scope="module")
def published(fitted: tuple[Recipe, Any, FitResult], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card]:
    recipe, data, result = fitted
    folder, _ = publish(recipe, data, result, tmp_path_factory.mktemp("models"))
    return folder, read_card((folder / CARD_FILE).read_bytes())


@pytest.fixture(scope="module")
def client(published: tuple[Path, Card]) -> Generator[TestClient]:
    settings = Settings.model_validate(
        {"models_dir": published[0].parents[1], "model_watch": "off", "precision": "float32", "tile_memory_mib": 16}
    )
    with TestClient(Dispatcher(create_app(settings)), raise_server_exceptions=False) as client:
        yield client


def image(side: int = 43, sigma: float = 0.1) -> NDArray[np.uint8]:
    random = np.random.default_rng(5)
    smooth = np.kron(random.random((side // 8 + 1, side // 8 + 1, 1)), np.ones((8, 8, 1)))[:side, :side]
    return (np.clip(smooth + sigma * random.normal(size=(side, side, 1)), 0, 1) * 255).round().astype(np.uint8)


def test_body_and_default_output_stay_as_they_were(fitted: tuple[Recipe, Any, FitResult]) -> None:
    recipe, data, result = fitted
    plain = from_tables({**recipe.model_dump(mode="json"), "net": SECTION, "optimizer": {"epochs": 1},
                         "objective": {"loss": "log_mse"}})  # fmt: skip
    net = plain.net.build(tuple(result.net.shape))
    added = {name for name in result.net.state_dict() if name.split(".")[0] in result.net.added_parts}
    net.load_state_dict({name: tensor for name, tensor in result.net.state_dict().items() if name not in added})
    noisy = torch.from_numpy(np.moveaxis(data.test[:4], 3, 1) / np.float32(255))
    assert torch.equal(net.eval()(noisy), result.net(noisy))
    assert not torch.equal(result.net.denoise(noisy, torch.full((4,), 2.0)).output, result.net(noisy))


def test_noise_estimate_is_the_error_of_the_logarithm() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    noisy = clean + torch.tensor([0.1, 0.2]).view(2, 1, 1, 1)
    result = ForwardResult(clean, clean, noise_variance=torch.tensor([0.01, 0.04 * math.e]).view(2, 1, 1))
    assert noise_estimate(result, noisy, clean).item() == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(RecipeError, match=r"net\.noise_control"):
        noise_estimate(ForwardResult(clean, clean), noisy, clean)


def test_smoothness_weighs_the_variation_by_the_strength() -> None:
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(2, 1, 8, 8) / 10  # variation 0.1 across, and none down
    result = ForwardResult(ramp, ramp, strength=torch.tensor([1.0, 1.5]))
    assert smoothness(result, ramp, ramp).item() == pytest.approx(0.5 * math.log(0.1 + VARIATION_FLOOR) / 2, rel=1e-4)
    assert smoothness(ForwardResult(ramp, ramp), ramp, ramp).item() == 0


def test_initial_weights_may_lack_only_the_added_parts(body: Path, tmp_path: Path) -> None:
    recipe, data = small(tmp_path, **{**CHANGES, "net": {**CHANGES["net"], "code": 15}})
    with pytest.raises(RunError, match="another net"):
        fit(recipe, data, tmp_path / "run", silent(), init=body)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"loss": "log_mse"}}, "needs objective.penalties: noise_estimate, smoothness"),
        ({"net": SECTION, "optimizer": {"train": "noise_control"}}, "needs net.noise_control = true"),
        ({"net": {**CHANGES["net"], "any_size": False}}, "noise_control needs any_size = true"),
    ],
)
def test_contradictions_in_the_recipe_are_rejected(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        small(tmp_path, **{**CHANGES, **changes})


def test_strengths_are_drawn_between_one_and_two() -> None:
    drawn = draw_strengths(1000, RandomGenerator().manual_seed(1), every=True)
    assert (drawn.min() >= 1, drawn.max() <= 2, drawn.unique().numel() > 990) == (True, True, True)
    half = draw_strengths(1000, RandomGenerator().manual_seed(1), every=False)
    assert 400 < int((half == 1).sum()) < 600


def test_card_states_control_and_noise_map(published: tuple[Path, Card]) -> None:
    folder, card = published
    assert (card.format, card.noise_map, [control.name for control in card.controls]) == (2, True, ["strength"])
    assert {graph.precision for graph in card.graphs} == {"float32", "int8"}
    assert "controls" in json.loads((folder / CARD_FILE).read_bytes())


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_graph_with_mixed_strengths_equals_single_runs(published: tuple[Path, Card], precision: str) -> None:
    folder, card = published
    (graph,) = (graph for graph in card.graphs if graph.precision == precision)
    session = load_graph(folder, card, graph)
    batch = np.stack([image(43, sigma) for sigma in (0.02, 0.1, 0.2)])
    strengths = np.array([[1.0], [1.7], [2.0]], np.float32)
    together = session.run_with_map(batch, strengths)
    for at in range(3):
        alone = session.run_with_map(batch[at : at + 1], strengths[at : at + 1])
        assert np.abs(alone.outputs[0].astype(int) - together.outputs[at]).max() <= 1
        assert np.allclose(alone.maps[0], together.maps[at], rtol=1e-4)
    assert (session.run(batch) == session.run(batch, np.ones((3, 1), np.float32))).all()


def test_graph_returns_the_variances_of_the_net(
    fitted: tuple[Recipe, Any, FitResult], published: tuple[Path, Card]
) -> None:
    folder, card = published
    session = load_graph(folder, card, card.graphs[0])
    batch = image(37)[np.newaxis]
    x = torch.from_numpy(np.moveaxis(batch, 3, 1) / np.float32(255))
    expected = fitted[2].net.denoise(x, torch.ones(1)).noise_variance
    assert expected is not None
    assert np.allclose(session.run_with_map(batch).maps, expected.numpy(), rtol=1e-3)


def test_estimate_of_a_picture_in_tiles_is_that_of_the_whole(client: TestClient, published: tuple[Path, Card]) -> None:
    folder, card = published
    large = image(1000)
    scheduler = client.app_state["service"].store.snapshot.loaded["blobs"].runners["denoise"].scheduler
    assert len(scheduler._grid.tiles(1000, 1000)) > 1
    answer = client.post("/denoise?strength=1.5", content=png(large), headers={"content-type": "image/png"})
    whole = load_graph(folder, card, card.graphs[0]).run_with_map(large[np.newaxis], np.full((1, 1), 1.5, np.float32))
    assert np.abs(pixels(answer.content).astype(int) - whole.outputs[0, :, :, 0]).max() <= 1
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(float(np.sqrt(whole.maps.mean())), rel=1e-3)


def test_sigma_below_the_estimate_removes_less(client: TestClient) -> None:
    noisy = image(43)[np.newaxis]
    removed: list[float] = []
    for query in ("sigma=0", "sigma=2", "sigma=6", ""):
        answer = client.post(f"/denoise?{query}&format=npy", content=write_npy(noisy),
                             headers={"content-type": "application/x-npy"})  # fmt: skip
        outputs = np.load(BytesIO(answer.content))
        removed.append(float(np.abs(outputs.astype(int) - noisy).mean()))
    assert removed[0] == 0
    assert removed == sorted(set(removed))


def test_net_without_noise_control_ignores_the_strength() -> None:
    net = ConvSection.model_validate(SECTION).build((1, 16, 16))
    x = torch.rand(2, 1, 9, 11, generator=RandomGenerator().manual_seed(0))
    assert torch.equal(net.denoise(x, torch.full((2,), 2.0)).output, net(x))

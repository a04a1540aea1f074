"""How much noise is removed: `strength=` and `sigma=`, with a model that takes them and with models that do not."""

import asyncio
import base64
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service.codec import write_npy
from service.config import Settings
from service.engine.batcher import Batcher
from service.engine.noise_level import mean_sigma
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import TileScheduler
from service.http.app import create_app
from service.http.dispatcher import Dispatcher
from service.repository.store import LoadOptions, Store
from service.runtime.providers import Device
from service.runtime.session import MappedOutputs
from tests.conftest import pixels, png
from tests.support.tiny_models import STRENGTH, publish

Array = NDArray[Any]
NPY = "application/x-npy"


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Generator[TestClient]:
    """Yield a client of a service with two models: `levels`, and `photos`, which inverts and takes no strength."""
    models = tmp_path_factory.mktemp("levels")
    publish(models, "levels")
    publish(models, "photos")
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off", "default_denoise": "levels"})
    with TestClient(Dispatcher(create_app(settings)), raise_server_exceptions=False) as client:
        yield client


def picture(red: int, side: int = 9) -> Array:
    """Return a picture whose noise, in the eyes of the model `levels`, is a tenth of `red`."""
    return np.full((side, side + 2, 3), (red, 120, 200), np.uint8)


def denoise(client: TestClient, query: str, image: Array) -> Any:
    return client.post(f"/denoise?{query}", content=png(image), headers={"content-type": "image/png"})


@pytest.mark.parametrize(
    ("query", "removed"),
    [
        ("", 20),
        ("strength=0", 0),
        ("strength=0.5", 10),
        ("strength=1.5", 30),
        ("strength=2", 40),
        ("sigma=10", 20),  # the estimate
        ("sigma=5", 10),
        ("sigma=0", 0),
        ("sigma=15", 30),
        ("sigma=100", 40),  # at most the largest strength
        ("sigma=10&strength=1.5", 30),
        ("sigma=20&strength=0.5", 20),
    ],
)
def test_strength_and_sigma_remove_more_or_less(levels: TestClient, query: str, removed: int) -> None:
    answer = denoise(levels, query, picture(100))
    assert (pixels(answer.content) == picture(100) - np.uint8(removed)).all()
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(10 / 255, rel=1e-4)


def test_each_picture_of_a_request_has_its_own_estimate(levels: TestClient) -> None:
    many = np.stack([picture(red) for red in (50, 100, 200)])
    answer = levels.post("/denoise?sigma=10", content=write_npy(many), headers={"content-type": NPY})
    removed = many - np.load(BytesIO(answer.content)).astype(int)
    assert removed[:, 0, 0, 1].tolist() == [40, 20, 10]
    bodies = {"images": [base64.b64encode(png(picture(red))).decode() for red in (50, 200)]}
    results = levels.post("/denoise?sigma=10", json=bodies).json()["results"]
    assert [result["noise_sigma"] for result in results] == pytest.approx([5 / 255, 20 / 255], rel=1e-4)


def test_estimate_leaves_out_transparent_pixels(levels: TestClient) -> None:
    image = np.concatenate([picture(100), np.full((9, 11, 1), 255, np.uint8)], axis=2)
    image[:4] = 0
    answer = denoise(levels, "sigma=10", image)
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(10 / 255, rel=1e-4)
    assert mean_sigma(np.array([[0.25, 9], [0.25, 9]]), 2, np.eye(4, dtype=bool) * 0 > 0) == pytest.approx(4.625**0.5)


@pytest.mark.parametrize(("strength", "expected"), [(1.0, 155), (1.5, 182), (2.0, 210), (0.5, 128)])
def test_strength_of_a_model_without_the_control_extrapolates(
    levels: TestClient, strength: float, expected: int
) -> None:
    answer = denoise(levels, f"model=photos&strength={strength}", np.full((9, 9, 3), 100, np.uint8))
    assert (pixels(answer.content) == expected).all()
    clipped = denoise(levels, "model=photos&strength=2", np.full((9, 9, 3), 30, np.uint8))
    assert (pixels(clipped.content) == 255).all()


def test_sigma_for_a_model_without_the_control_is_rejected(levels: TestClient) -> None:
    answer = denoise(levels, "model=photos&sigma=10", picture(100))
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")
    assert answer.json()["detail"].startswith("sigma: the model photos ")


@pytest.mark.parametrize("query", ["strength=2.1", "sigma=-1", "sigma=101", "sigma=nan", "sigma=", "sigma=1,5"])
def test_values_out_of_range_are_rejected(levels: TestClient, query: str) -> None:
    answer = denoise(levels, query, picture(100))
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")
    assert answer.json()["detail"].startswith(query.split("=")[0])


def test_sigma_of_a_form_is_a_parameter(levels: TestClient) -> None:
    answer = levels.post("/denoise?format=png", files={"image": png(picture(100))}, data={"sigma": "5"})
    assert (pixels(answer.content) == picture(100) - np.uint8(10)).all()


BAD_CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "a control of another name": ({"controls": [{**STRENGTH, "name": "power"}]}, "no control of that name"),
    "no noise map": ({"noise_map": False}, "must have one output"),
}


@pytest.mark.parametrize("case", BAD_CARDS)
def test_graph_with_ports_that_the_card_lacks_is_rejected(tmp_path: Path, case: str) -> None:
    changes, reason = BAD_CARDS[case]
    publish(tmp_path, "levels", **changes)
    store = Store(tmp_path, LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1), max_old_versions=1)
    store.refresh()
    assert reason in store.snapshot.rejected["levels", 1].reason


def test_callers_with_different_controls_share_a_batch() -> None:
    sizes: list[int] = []

    def scale(items: Array, controls: Array) -> Array:
        sizes.append(len(items))
        return items * controls

    async def work() -> list[Any]:
        batcher = Batcher(scale, max_batch=8)
        ones = np.ones((1, 1), np.float32)
        tasks = [batcher.submit(ones, np.full((1, 1), value, np.float32)) for value in range(5)]
        many = batcher.submit(np.ones((9, 1), np.float32), np.arange(9, dtype=np.float32)[:, None])
        return await asyncio.gather(*tasks, many)

    *single, many = asyncio.run(work())
    assert [float(result.outputs[0, 0]) for result in single] == [0, 1, 2, 3, 4]
    assert many.outputs[:, 0].tolist() == list(range(9))
    assert max(sizes) > 1


def test_request_without_controls_joins_no_batch_with_controls() -> None:
    def scale(items: Array, controls: Array | None = None) -> Array:
        return items * (7 if controls is None else controls)

    async def work() -> list[Any]:
        batcher = Batcher(scale, max_batch=8)
        ones = np.ones((1, 1), np.float32)
        controls = [2 * ones, None, 3 * ones]
        return await asyncio.gather(*(batcher.submit(ones, values) for values in controls))

    assert [float(result.outputs[0, 0]) for result in asyncio.run(work())] == [2, 7, 3]


@pytest.mark.parametrize("runners", [1, 2])
def test_noise_map_in_tiles_equals_that_of_the_whole(runners: int) -> None:
    stride = 8
    image = np.random.default_rng(1).integers(0, 256, (1, 61, 83, 3), np.uint8)

    def cells(tile: Array, controls: Array | None) -> MappedOutputs:
        assert controls is not None
        height, width = tile.shape[1:3]
        padded = np.pad(tile, ((0, 0), (0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")
        shape = (1, padded.shape[1] // stride, stride, padded.shape[2] // stride, stride, 3)
        return MappedOutputs(tile, padded.reshape(shape).mean((2, 4, 5)) * controls[0, 0])

    async def work(pool: ThreadPoolExecutor) -> Any:
        grid = Grid(9, stride, 1200)
        assert len(grid.tiles(61, 83)) > 4
        scheduler = TileScheduler(
            lambda tile: tile, grid=grid, pool=pool, runners=runners, fast_lane_pixels=0, run_with_map=cells
        )
        return await scheduler.submit(image, np.full((1, 1), 3, np.float32))

    with ThreadPoolExecutor(2) as pool:
        result = asyncio.run(work(pool))
    whole = cells(image, np.full((1, 1), 3, np.float32))
    assert (result.outputs == image).all()
    assert np.array_equal(result.noise_map, whole.maps.astype(np.float32))

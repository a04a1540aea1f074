"""The tile scheduler: order of tiles, failures, and cancelled requests."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.scheduler import InferenceError, RunHooks
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import TileScheduler
from service.errors import ImageTooLarge
from service.runtime.tensors import crop_images
from service.types import Crop

Array = NDArray[Any]
T = TypeVar("T")
GRID = Grid(0, 1, 100)


def picture(value: int, height: int = 20, width: int = 20) -> Array:
    return np.full((1, height, width, 3), value, np.uint8)


def invert(tile: Array) -> Array:
    return 255 - tile


class Gate:
    """A graph that records its inputs and waits for a semaphore."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.leave = threading.Semaphore(0)

    def __call__(self, tile: Array) -> Array:
        self.seen.append(int(tile[0, 0, 0, 0]))
        assert self.leave.acquire(timeout=20)
        return 255 - tile


def run(work: Callable[[ThreadPoolExecutor], Coroutine[Any, Any, T]]) -> T:
    with ThreadPoolExecutor(4) as pool:
        return asyncio.run(work(pool))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in threads, at most 20 s."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - threads set no event of the loop
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("order", ["C", "F"])
def test_picture_in_any_memory_order_is_processed(order: Any) -> None:
    image = np.asarray(np.random.default_rng(0).integers(0, 256, (1, 33, 47, 3), np.uint8), order=order)

    async def work(pool: ThreadPoolExecutor) -> Array:
        return (await TileScheduler(invert, grid=GRID, pool=pool, runners=2, fast_lane_pixels=0).submit(image)).outputs

    output = run(work)
    assert (output == 255 - image).all()
    assert output.flags.c_contiguous


def test_requests_take_turns_by_the_tile() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> None:
        tiler = TileScheduler(gate, grid=GRID, pool=pool, runners=1, fast_lane_pixels=0)
        large = asyncio.create_task(tiler.submit(picture(1, 40, 40)))
        await until(lambda: gate.seen == [1])
        small = asyncio.create_task(tiler.submit(picture(2, 10, 10)))
        await asyncio.sleep(0)
        gate.leave.release(2)
        await until(lambda: len(gate.seen) == 3)
        assert gate.seen[:3] in ([1, 1, 2], [1, 2, 1])
        gate.leave.release(100)
        await asyncio.gather(large, small)

    run(work)
    assert gate.seen.count(1) == 16


def test_small_picture_waits_for_no_tile_of_a_large_one() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> None:
        tiler = TileScheduler(gate, grid=GRID, pool=pool, runners=1, fast_lane_pixels=25)
        large = asyncio.create_task(tiler.submit(picture(1)))
        await until(lambda: gate.seen == [1])
        small = asyncio.create_task(tiler.submit(picture(2, 5, 5)))
        await until(lambda: gate.seen == [1, 2])
        gate.leave.release(100)
        await asyncio.gather(large, small)

    run(work)
    assert gate.seen == [1, 2, 1, 1, 1]


def test_only_a_lone_picture_is_split_among_all_runners() -> None:
    gate = Gate()
    sides = 400

    async def work(pool: ThreadPoolExecutor) -> list[Array]:
        tiler = TileScheduler(gate, grid=Grid(7, 8, 1 << 20), pool=pool, runners=2)
        alone = asyncio.create_task(tiler.submit(picture(1, sides, sides)))
        await until(lambda: gate.seen == [1])  # not large enough for two
        gate.leave.release()
        await alone
        first = asyncio.create_task(tiler.submit(picture(2, 2 * sides, sides)))
        await until(lambda: gate.seen == [1, 2, 2])
        second = asyncio.create_task(tiler.submit(picture(3, 2 * sides, sides)))
        await asyncio.sleep(0)
        gate.leave.release(100)
        return [done.outputs for done in await asyncio.gather(first, second)]

    outputs = run(work)
    assert gate.seen == [1, 2, 2, 3]
    assert [set(answer.flat) for answer in outputs] == [{253}, {252}]


def test_tiles_of_a_cancelled_request_are_not_run() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> Array:
        tiler = TileScheduler(gate, grid=GRID, pool=pool, runners=1, fast_lane_pixels=0)
        gone = asyncio.create_task(tiler.submit(picture(1)))
        await until(lambda: gate.seen == [1])
        stays = asyncio.create_task(tiler.submit(picture(2)))
        gone.cancel()
        gate.leave.release(100)
        return (await stays).outputs

    assert (run(work) == 253).all()
    assert gate.seen == [1, 2, 2, 2, 2]


def test_failing_tile_fails_its_picture_only() -> None:
    def poisoned(tile: Array) -> Array:
        if (tile == 66).all():
            raise ValueError("poison")
        return 255 - tile

    async def work(pool: ThreadPoolExecutor) -> list[Any]:
        tiler = TileScheduler(poisoned, grid=GRID, pool=pool, runners=2, fast_lane_pixels=0)
        return await asyncio.gather(*(tiler.submit(picture(value)) for value in (1, 66, 3)), return_exceptions=True)

    first, failed, third = run(work)
    assert isinstance(failed, InferenceError)
    assert (first.outputs == 254).all()
    assert (third.outputs == 252).all()


def test_output_of_wrong_size_fails_the_request() -> None:
    async def work(pool: ThreadPoolExecutor) -> None:
        await TileScheduler(lambda tile: tile[:, ::2], grid=GRID, pool=pool).submit(picture(1))

    with pytest.raises(InferenceError, match="returned"):
        run(work)


def test_pool_shutdown_fails_tile_requests() -> None:
    async def work(pool: ThreadPoolExecutor) -> None:
        pool.shutdown()
        await TileScheduler(invert, grid=GRID, pool=pool).submit(picture(1))

    with pytest.raises(InferenceError):
        run(work)


@pytest.mark.parametrize("crops", [False, True])
def test_only_pixels_to_keep_are_returned_for_a_tile(crops: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 33, 47, 3), np.uint8)
    seen: list[tuple[Any, Any]] = []

    def graph(tile: Array, crop: Crop = (0, 0, 0, 0)) -> Array:
        seen.append((tile.shape[1:3], crop))
        return crop_images(255 - tile, crop)

    async def work(pool: ThreadPoolExecutor) -> Array:
        grid = Grid(3, 4, 500)
        tiler = TileScheduler(graph, grid=grid, pool=pool, fast_lane_pixels=0, crops=crops)
        return (await tiler.submit(image)).outputs

    assert (run(work) == 255 - image).all()
    tiles = Grid(3, 4, 500).tiles(33, 47)
    assert [shape for shape, _ in seen] == [(tile.rows.read_length, tile.columns.read_length) for tile in tiles]
    assert [crop for _, crop in seen] == [tile.crop if crops else (0, 0, 0, 0) for tile in tiles]


def test_graph_that_does_not_crop_fails_the_request() -> None:
    async def work(pool: ThreadPoolExecutor) -> None:
        def graph(tile: Array, crop: Crop = (0, 0, 0, 0)) -> Array:  # noqa: ARG001 - it ignores its crop
            return tile

        await TileScheduler(graph, grid=Grid(3, 4, 500), pool=pool, crops=True).submit(picture(1, 40, 40))

    with pytest.raises(InferenceError, match="the graph returned shape"):
        run(work)


def test_memory_is_released_once_when_idle_after_a_large_tile() -> None:
    tidied: list[int] = []
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> None:
        hooks = RunHooks(release_memory=lambda: tidied.append(len(gate.seen)))
        tiler = TileScheduler(gate, grid=Grid(0, 1, 1 << 20), pool=pool, runners=1, hooks=hooks)
        gate.leave.release(100)
        await tiler.submit(picture(1))
        await asyncio.sleep(0.05)
        assert tidied == []  # nothing large has run
        await asyncio.gather(tiler.submit(picture(2, 600, 600)), tiler.submit(picture(3, 600, 600)))
        await until(lambda: bool(tidied))
        gone = asyncio.create_task(tiler.submit(picture(4, 2000, 2000)))
        await until(lambda: len(gate.seen) > 3)
        gone.cancel()
        await until(lambda: len(tidied) == 2)

    run(work)
    assert tidied[0] == 3


def test_untiled_model_runs_whole_images_up_to_its_memory() -> None:
    shapes: list[tuple[int, ...]] = []

    def record(tile: Array) -> Array:
        shapes.append(tile.shape)
        return 255 - tile

    async def work(pool: ThreadPoolExecutor) -> Array:
        scheduler = TileScheduler(record, grid=Grid(0, 1, 400), pool=pool, runners=2, tiled=False)
        with pytest.raises(ImageTooLarge, match="HOURGLASS_TILE_MEMORY_MIB"):
            await scheduler.submit(picture(1, 20, 21))
        return (await scheduler.submit(picture(1, 20, 20))).outputs

    assert (run(work) == 254).all()
    assert shapes == [(1, 20, 20, 3)]


def tiles_of(
    work: Callable[[TileScheduler], Coroutine[Any, Any, None]], graph: Callable[[Array], Array]
) -> Counter[str]:
    """Return the tiles that a scheduler with one runner reports during `work`, queued and by outcome."""
    tiles: Counter[str] = Counter()

    def on_image(count: int) -> None:
        tiles["queued"] += count

    def on_tiles(outcome: str, count: int) -> None:
        tiles[outcome] += count

    async def reporting(pool: ThreadPoolExecutor) -> None:
        hooks = RunHooks(on_image=on_image, on_tiles=on_tiles)
        scheduler = TileScheduler(graph, grid=GRID, pool=pool, runners=1, fast_lane_pixels=0, hooks=hooks)
        await work(scheduler)
        await until(lambda: not scheduler.running)

    run(reporting)
    return tiles


def test_tiles_of_an_answered_image_are_reported_as_run() -> None:
    async def work(scheduler: TileScheduler) -> None:
        await scheduler.submit(picture(1, 40, 40))

    assert tiles_of(work, invert) == {"queued": 16, "run": 16}


def test_tiles_of_a_cancelled_image_are_reported_as_dropped() -> None:
    gate = Gate()

    async def work(scheduler: TileScheduler) -> None:
        image = asyncio.create_task(scheduler.submit(picture(1, 40, 40)))
        await until(lambda: gate.seen == [1])
        image.cancel()
        await asyncio.wait([image])
        gate.leave.release()

    assert tiles_of(work, gate) == {"queued": 16, "run": 1, "dropped": 15}


def test_tile_that_raises_is_failed_and_the_others_dropped() -> None:
    def fail(_: Array) -> Array:
        raise ValueError("no")

    async def work(scheduler: TileScheduler) -> None:
        with pytest.raises(InferenceError):
            await scheduler.submit(picture(1, 40, 40))

    assert tiles_of(work, fail) == {"queued": 16, "failed": 1, "dropped": 15}

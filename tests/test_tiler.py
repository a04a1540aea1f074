"""The tiler: whose tile runs next, what failures and departures cost, and that nothing is begun for nobody."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batcher import RunFailed
from service.tiler import Tiler
from service.tiling import Grid

Array = NDArray[Any]
T = TypeVar("T")
GRID = Grid(0, 1, 100)


def picture(value: int, height: int = 20, width: int = 20) -> Array:
    return np.full((1, height, width, 3), value, np.uint8)


def invert(tile: Array, _: bool) -> Array:
    return 255 - tile


class Gate:
    """A graph that notes what it is given, and waits for leave."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.last: list[bool] = []
        self.leave = threading.Semaphore(0)

    def __call__(self, tile: Array, last: bool) -> Array:
        self.seen.append(int(tile[0, 0, 0, 0]))
        self.last.append(last)
        assert self.leave.acquire(timeout=20)
        return 255 - tile


def run(work: Callable[[ThreadPoolExecutor], Coroutine[Any, Any, T]]) -> T:
    with ThreadPoolExecutor(4) as pool:
        return asyncio.run(work(pool))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.001)


def test_every_picture_of_a_request_is_answered_in_its_place() -> None:
    async def work(pool: ThreadPoolExecutor) -> Array:
        pictures = np.concatenate([picture(value) for value in range(5)])
        return (await Tiler(invert, grid=GRID, pool=pool, runners=2, small=0).submit(pictures)).outputs

    found = run(work)
    assert [int(item[3, 3, 0]) for item in found] == [255, 254, 253, 252, 251]


def test_callers_take_turns_by_the_tile() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> None:
        tiler = Tiler(gate, grid=GRID, pool=pool, runners=1, small=0)
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
    assert gate.last[-1]


def test_a_small_picture_waits_for_no_tile_of_a_large_one() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> None:
        tiler = Tiler(gate, grid=GRID, pool=pool, runners=1, small=25)
        large = asyncio.create_task(tiler.submit(picture(1)))
        await until(lambda: gate.seen == [1])
        small = asyncio.create_task(tiler.submit(picture(2, 5, 5)))
        await until(lambda: gate.seen == [1, 2])
        gate.leave.release(100)
        await asyncio.gather(large, small)

    run(work)


def test_the_tiles_of_a_caller_who_has_gone_are_not_begun() -> None:
    gate = Gate()

    async def work(pool: ThreadPoolExecutor) -> Array:
        tiler = Tiler(gate, grid=GRID, pool=pool, runners=1, small=0)
        gone = asyncio.create_task(tiler.submit(picture(1)))
        await until(lambda: gate.seen == [1])
        stays = asyncio.create_task(tiler.submit(picture(2)))
        gone.cancel()
        gate.leave.release(100)
        return (await stays).outputs

    assert (run(work) == 253).all()
    assert gate.seen == [1, 2, 2, 2, 2]


def test_a_failing_tile_fails_its_picture_alone() -> None:
    def poisoned(tile: Array, _: bool) -> Array:
        if (tile == 66).all():
            raise ValueError("poison")
        return 255 - tile

    async def work(pool: ThreadPoolExecutor) -> list[Any]:
        tiler = Tiler(poisoned, grid=GRID, pool=pool, runners=2, small=0)
        return await asyncio.gather(*(tiler.submit(picture(value)) for value in (1, 66, 3)), return_exceptions=True)

    first, failed, third = run(work)
    assert isinstance(failed, RunFailed)
    assert (first.outputs == 254).all()
    assert (third.outputs == 252).all()


def test_a_graph_of_another_size_is_no_answer() -> None:
    async def work(pool: ThreadPoolExecutor) -> None:
        await Tiler(lambda tile, _: tile[:, ::2], grid=GRID, pool=pool).submit(picture(1))

    with pytest.raises(RunFailed, match="answered"):
        run(work)


def test_nobody_waits_for_a_pool_that_was_shut_down() -> None:
    async def work(pool: ThreadPoolExecutor) -> None:
        pool.shutdown()
        await Tiler(invert, grid=GRID, pool=pool).submit(picture(1))

    with pytest.raises(RunFailed):
        run(work)

"""Priorities and timeouts of waiting requests, in the queue itself, in the batcher and in the tile scheduler."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.batcher import Batcher
from service.engine.queue import FAIR_TURN, PriorityQueue, QueueOptions
from service.engine.scheduler import RunHooks
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import TileScheduler
from service.errors import QueueTimeout

Array = NDArray[Any]


class Recorder:
    """A graph that records the first value of each batch, and waits for a permit before it returns."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.running = threading.Event()
        self.permits = threading.Semaphore(0)

    def __call__(self, items: Array) -> Array:
        self.values.append(int(items.flat[0]))
        self.running.set()
        assert self.permits.acquire(timeout=20)
        return items

    async def started(self) -> None:
        """Wait until the first batch runs."""
        await asyncio.to_thread(self.running.wait, 20)


def take(queue: PriorityQueue[str]) -> str:
    return queue.turn()[0].popleft().item


def test_queue_orders_by_priority_then_arrival() -> None:
    queue: PriorityQueue[str] = PriorityQueue()
    for item, priority in (("low", 3), ("first", 2), ("second", 2), ("high", 1)):
        queue.append(item, priority)
    assert [take(queue) for _ in range(3)] == ["high", "first", "second"]
    assert queue
    assert take(queue) == "low"
    assert not queue


def test_low_priority_gets_every_fourth_turn() -> None:
    queue: PriorityQueue[str] = PriorityQueue()
    for _ in range(3):
        queue.append("low", 3)
    for _ in range(100):
        queue.append("high", 1)
    taken = [take(queue) for _ in range(3 * FAIR_TURN)]
    assert taken == (["high"] * (FAIR_TURN - 1) + ["low"]) * 3


@pytest.mark.parametrize(("idle_turns", "sizes"), [(0, [1, 1, 1]), (8, [3])])
def test_batch_waits_for_items_that_arrive_apart(idle_turns: int, sizes: list[int]) -> None:
    batches: list[int] = []

    async def work() -> None:
        batcher = Batcher(lambda items: items, max_batch=8, hooks=RunHooks(lambda size, _: batches.append(size)))
        requests: list[asyncio.Task[Any]] = []
        for _ in range(3):
            options = QueueOptions(idle_turns=idle_turns)
            requests.append(asyncio.create_task(batcher.submit(np.zeros((1, 1)), options=options)))
            for _ in range(5):
                await asyncio.sleep(0)
        await asyncio.gather(*requests)

    asyncio.run(work())
    assert batches == sizes


def test_batcher_runs_priority_1_before_waiting_requests() -> None:
    graph = Recorder()

    async def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(graph, max_batch=1, pool=pool)
            requests = [asyncio.create_task(batcher.submit(np.array([[0]])))]
            await graph.started()
            for value, priority in ((3, 3), (2, 2), (1, 1)):
                options = QueueOptions(priority)
                requests.append(asyncio.create_task(batcher.submit(np.array([[value]]), options=options)))
            await asyncio.sleep(0)
            graph.permits.release(4)
            await asyncio.gather(*requests)

    asyncio.run(work())
    assert graph.values == [0, 1, 2, 3]


def test_tiles_of_priority_1_run_before_waiting_images() -> None:
    graph = Recorder()

    async def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            tiler = TileScheduler(graph, grid=Grid(1, 1, 64), pool=pool, fast_lane_pixels=0)
            requests = [asyncio.create_task(tiler.submit(np.full((1, 4, 4, 3), 9, np.uint8)))]
            await graph.started()
            for value, priority in ((3, 3), (2, 2), (1, 1)):
                image = np.full((1, 4, 4, 3), value, np.uint8)
                requests.append(asyncio.create_task(tiler.submit(image, options=QueueOptions(priority))))
            await asyncio.sleep(0)
            graph.permits.release(4)
            await asyncio.gather(*requests)

    asyncio.run(work())
    assert graph.values == [9, 1, 2, 3]


@pytest.mark.parametrize("tiled", [False, True])
def test_waiting_longer_than_the_timeout_fails(tiled: bool) -> None:
    graph = Recorder()
    image = np.zeros((1, 4, 4, 3), np.uint8)

    async def work() -> Any:
        with ThreadPoolExecutor(1) as pool:
            tiler = TileScheduler(graph, grid=Grid(1, 1, 64), pool=pool, fast_lane_pixels=0)
            scheduler = tiler if tiled else Batcher(graph, max_batch=1, pool=pool)
            patient = asyncio.create_task(scheduler.submit(image, options=QueueOptions(timeout=0.01)))
            await graph.started()
            with pytest.raises(QueueTimeout):
                await scheduler.submit(image, options=QueueOptions(timeout=0.01))
            graph.permits.release(2)
            return await patient  # the timeout does not count its run

    assert (asyncio.run(work()).outputs == image).all()
    assert len(graph.values) == 1

"""The watchdog: a hang is reported and ends the process; a slow or paused process continues."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine import watchdog
from service.engine.batcher import Batcher
from service.engine.scheduler import InferenceError
from service.engine.watchdog import Watchdog
from tests.conftest import Serve

Array = NDArray[Any]
LOOK, PATIENCE = 0.03, 12
ITEM = np.zeros((1, 4), np.float32)


class Small:
    """The part of a runner that the watchdog uses."""

    def __init__(self, run: Callable[[Array], Array], pool: ThreadPoolExecutor | None) -> None:
        self.scheduler = Batcher(run, max_batch=8, pool=pool)

    def probe_item(self) -> Array:
        return ITEM


def runner(run: Callable[[Array], Array], pool: ThreadPoolExecutor | None) -> Any:
    return Small(run, pool)


def watched(
    one: Any, work: Callable[[Watchdog], Coroutine[Any, Any, None]], terminated: threading.Event | None = None
) -> tuple[str, list[float]]:
    """Return the failure after the work, and the times at which the process would have ended; set `terminated` then."""
    ended: list[float] = []

    def terminate() -> None:
        ended.append(time.monotonic())
        if terminated:
            terminated.set()

    async def scene() -> str:
        dog = Watchdog(lambda: [one], PATIENCE, interval=LOOK, terminate=terminate)
        task = asyncio.create_task(dog.run())
        await work(dog)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return dog.failure

    return asyncio.run(scene()), ended


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(2) as pool:
        yield pool


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for a condition that sets no event; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        await asyncio.sleep(0.01)


def test_hanging_run_is_reported_then_ends_the_process(pool: ThreadPoolExecutor) -> None:
    leave = threading.Event()
    one = runner(lambda items: (leave.wait(20), items)[1], pool)
    red: list[float] = []

    async def work(dog: Watchdog) -> None:
        hanging = asyncio.ensure_future(one.scheduler.submit(ITEM))
        await until(lambda: dog.failure)
        red.append(time.monotonic())
        await asyncio.sleep(2 * watchdog.GRACE_TICKS * LOOK)
        leave.set()
        await hanging

    verdict, ended = watched(one, work)
    assert "has not finished" in verdict
    assert len(ended) == 1
    assert ended[0] - red[0] > LOOK, "the failure must be visible before the process ends"


def test_canary_detects_a_stalled_pool(pool: ThreadPoolExecutor) -> None:
    one = runner(lambda items: items, pool)
    one.scheduler._free_runners = 0  # as if every run had stopped without a result

    async def work(dog: Watchdog) -> None:
        await until(lambda: dog.failure)

    assert "has not finished" in watched(one, work)[0]


def test_canary_detects_a_failing_graph() -> None:
    def fail(_: Array) -> Array:
        raise ValueError("gone")

    async def work(dog: Watchdog) -> None:
        await until(lambda: dog.failure)

    assert "failed on its probe" in watched(runner(fail, None), work)[0]


def test_failing_requests_do_not_trip_the_watchdog() -> None:
    def picky(items: Array) -> Array:
        if items.any():
            raise ValueError("poison")
        return items

    one = runner(picky, None)

    async def work(_: Watchdog) -> None:
        for _number in range(8 * watchdog.CANARY_TICKS):
            with pytest.raises(InferenceError):
                await one.scheduler.submit(ITEM + 1)
            await asyncio.sleep(LOOK / 2)

    assert watched(one, work) == ("", [])


def test_long_moving_queue_does_not_trip_the_watchdog(pool: ThreadPoolExecutor) -> None:
    def slow(items: Array) -> Array:
        time.sleep(LOOK)
        return items

    one = runner(slow, pool)
    one.scheduler.max_batch = 1  # so that the canary waits behind all other items

    async def work(_: Watchdog) -> None:
        await asyncio.gather(*(one.scheduler.submit(ITEM) for _ in range(5 * PATIENCE)))

    assert watched(one, work) == ("", [])


def test_blocked_event_loop_ends_the_process() -> None:
    one = runner(lambda items: items, None)

    terminated = threading.Event()

    async def work(_: Watchdog) -> None:
        await asyncio.sleep(2 * LOOK)
        assert terminated.wait(20)  # blocks the event loop

    assert watched(one, work, terminated)[1]


def test_idle_service_is_healthy() -> None:
    one = runner(lambda items: items, None)

    async def work(_: Watchdog) -> None:
        await until(lambda: one.scheduler.completed >= 3)  # each run is a canary

    assert watched(one, work) == ("", [])


def test_livez_fails_while_a_run_hangs(serve: Serve) -> None:
    client = serve()
    assert client.get("/livez").status_code == 200
    state = client.app_state["service"]
    state.watchdog.failure = "a run has not come back for 60 s"
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (503, {"status": "a run has not come back for 60 s"})

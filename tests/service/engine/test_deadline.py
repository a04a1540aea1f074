"""Deadlines: a timeout cancels its block only."""

import asyncio

import pytest

from service.engine.deadline import Deadline, Timer
from service.errors import DeadlineExceeded

pytestmark = pytest.mark.anyio


async def test_block_over_its_timeout_raises_its_problem() -> None:
    with pytest.raises(DeadlineExceeded, match="not done within"), Deadline(Timer(), 0.01):
        await asyncio.sleep(60)
    await asyncio.sleep(0)  # the task continues


async def test_block_within_its_timeout_is_not_cancelled() -> None:
    with Deadline(Timer(), 0.02):
        pass
    await asyncio.sleep(0.05)


async def test_cancellation_is_not_reported_as_timeout() -> None:
    async def work() -> None:
        with Deadline(Timer(), 60):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_exception_of_the_block_is_raised() -> None:
    with pytest.raises(KeyError), Deadline(Timer(), 60):
        raise KeyError("mine")


@pytest.mark.parametrize(("asked", "expected"), [(None, 0.4), (5.0, 0.4), (0.2, 0.2)])
async def test_timeout_grows_with_pixels_up_to_client_timeout(asked: float | None, expected: float) -> None:
    async def scene() -> None:
        with Deadline(Timer(), 0.1, asked) as deadline:
            deadline.extend(0.3)
            await asyncio.sleep(20)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(DeadlineExceeded, match=f"within {expected:g} s"):
        await scene()
    assert loop.time() - begun >= expected - 0.01


async def test_many_deadlines_end_in_their_own_time() -> None:
    timer = Timer()
    ended: list[float] = []

    async def work(seconds: float) -> None:
        with pytest.raises(DeadlineExceeded), Deadline(timer, seconds):
            await asyncio.sleep(60)
        ended.append(seconds)

    timeouts = [0.15, 0.05, 0.1, 0.2, 0.05]
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(*map(work, timeouts))
    assert ended == sorted(timeouts)
    assert 0.19 <= asyncio.get_running_loop().time() - begun < 5


async def test_timer_goes_on_after_the_end_of_a_shorter_block() -> None:
    timer = Timer()
    with Deadline(timer, 0.05):
        pass
    with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"), Deadline(timer, 0.1):
        await asyncio.sleep(60)


async def test_extended_deadline_does_not_hold_up_another() -> None:
    timer = Timer()
    with Deadline(timer, 0.05) as long:
        long.extend(60)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"), Deadline(timer, 0.1):
            await asyncio.sleep(60)

"""Deadlines: a timeout cancels its block only."""

import asyncio

import pytest

from service.engine.deadline import Deadline
from service.errors import DeadlineExceeded

pytestmark = pytest.mark.anyio


async def test_block_over_its_timeout_raises_its_problem() -> None:
    with pytest.raises(DeadlineExceeded, match="not done within"), Deadline(0.01):
        await asyncio.sleep(60)
    await asyncio.sleep(0)  # the task continues


async def test_block_within_its_timeout_is_not_cancelled() -> None:
    with Deadline(0.02):
        pass
    await asyncio.sleep(0.05)


async def test_cancellation_is_not_reported_as_timeout() -> None:
    async def work() -> None:
        with Deadline(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_exception_of_the_block_is_raised() -> None:
    with pytest.raises(KeyError), Deadline(60):
        raise KeyError("mine")


@pytest.mark.parametrize(("asked", "expected"), [(None, 0.4), (5.0, 0.4), (0.2, 0.2)])
async def test_timeout_grows_with_pixels_up_to_client_timeout(asked: float | None, expected: float) -> None:
    async def scene() -> None:
        with Deadline(0.1, asked) as deadline:
            deadline.extend(0.3)
            await asyncio.sleep(20)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(DeadlineExceeded, match=f"within {expected:g} s"):
        await scene()
    assert loop.time() - begun >= expected - 0.01

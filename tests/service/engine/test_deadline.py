"""A deadline ends its block and nothing else."""

import asyncio

import pytest

from service.engine.deadline import Deadline
from service.errors import DeadlineExceeded

pytestmark = pytest.mark.anyio


async def test_a_block_that_takes_too_long_ends_in_its_problem() -> None:
    with pytest.raises(DeadlineExceeded, match="not done within"), Deadline(0.01):
        await asyncio.sleep(60)
    await asyncio.sleep(0)  # the task itself goes on


async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    with Deadline(0.02):
        pass
    await asyncio.sleep(0.05)


async def test_a_callers_own_cancelling_is_not_a_deadline() -> None:
    async def work() -> None:
        with Deadline(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_block_raises_comes_through() -> None:
    with pytest.raises(KeyError), Deadline(60):
        raise KeyError("mine")


@pytest.mark.parametrize(("asked", "wanted"), [(None, 0.4), (5.0, 0.4), (0.2, 0.2)])
async def test_more_is_allowed_up_to_what_the_caller_asked(asked: float | None, wanted: float) -> None:
    async def scene() -> None:
        with Deadline(0.1, asked) as deadline:
            deadline.extend(0.3)
            await asyncio.sleep(20)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(DeadlineExceeded, match=f"within {wanted:g} s"):
        await scene()
    assert loop.time() - begun >= wanted - 0.01

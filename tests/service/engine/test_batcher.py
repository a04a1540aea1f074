"""The batcher: every request gets its own outputs while others fail, are cancelled or fill the queue."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.engine.batcher import Batcher
from service.engine.operations import InferenceResult
from service.engine.operations import run as ask
from service.engine.scheduler import InferenceError, RunHooks
from service.errors import InvalidArray

Array = NDArray[Any]
T = TypeVar("T")
POISON = 666.0


def double(items: Array) -> Array:
    """Double the items; raise ValueError for a failing item."""
    if (items == POISON).any():
        raise ValueError("poison")
    return items * 2


def items(*values: float) -> Array:
    return np.array(values, np.float32)[:, None]


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


@pytest.mark.parametrize("pooled", [False, True])
def test_failing_item_among_31_good_ones_fails_alone(pooled: bool) -> None:
    async def work() -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(double, max_batch=32, pool=pool if pooled else None, runners=2)
            values = [POISON if at == 13 else float(at) for at in range(32)]
            return await asyncio.gather(*(batcher.submit(items(value)) for value in values), return_exceptions=True)

    results = run(work)
    assert isinstance(results.pop(13), InferenceError)
    assert [done.outputs[0, 0] for done in results] == [2.0 * at for at in range(32) if at != 13]


def test_waiting_items_run_in_batches_up_to_the_limit() -> None:
    sizes: list[int] = []

    async def work() -> None:
        batcher = Batcher(double, max_batch=8, hooks=RunHooks(on_batch=lambda size, _: sizes.append(size)))
        await asyncio.gather(*(batcher.submit(items(1)) for _ in range(20)))

    run(work)
    assert sizes == [8, 8, 4]


def test_batch_grows_while_items_arrive_up_to_its_limit() -> None:
    sizes: list[int] = []

    async def work() -> None:
        batcher = Batcher(double, max_batch=8, hooks=RunHooks(on_batch=lambda size, _: sizes.append(size)))
        callers: list[asyncio.Task[Any]] = []
        for _ in range(10):
            callers += [asyncio.create_task(batcher.submit(items(1))) for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.gather(*callers)

    run(work)
    assert sizes == [8, 8, 4]


def test_failing_observer_does_not_block_callers() -> None:
    def fail(*_: float) -> None:
        raise ValueError("observer")

    async def work() -> list[Any]:
        batcher = Batcher(double, max_batch=8, hooks=RunHooks(on_batch=fail))
        callers = [batcher.submit(items(1)) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 30)

    assert [type(outcome) for outcome in run(work)] == [InferenceError] * 3


def test_single_item_runs_immediately() -> None:
    sizes: list[int] = []

    async def work() -> None:
        batcher = Batcher(double, max_batch=8, hooks=RunHooks(on_batch=lambda size, _: sizes.append(size)))
        for _ in range(3):
            await batcher.submit(items(1))

    run(work)
    assert sizes == [1, 1, 1]


def test_bulk_runs_in_whole_batches_unless_others_wait() -> None:
    sizes: list[int] = []

    async def work(*others: Array) -> list[int]:
        sizes.clear()
        with ThreadPoolExecutor(1) as pool:
            hooks = RunHooks(on_batch=lambda size, _: sizes.append(size))
            batcher = Batcher(double, max_batch=8, pool=pool, hooks=hooks)
            await asyncio.gather(*(batcher.submit(array) for array in (items(*range(20)), *others)))
        return sizes

    assert run(work) == [8, 8, 4]
    assert run(lambda: work(items(1))) == [8, 5, 8]  # the single item joins the half of a batch


def test_single_item_overtakes_a_bulk_request() -> None:
    order: list[str] = []

    async def work() -> None:
        batcher = Batcher(double, max_batch=4)

        async def submit(name: str, count: int) -> None:
            await batcher.submit(items(*range(count)))
            order.append(name)

        await asyncio.gather(submit("bulk", 40), submit("single", 1))

    run(work)
    assert order == ["single", "bulk"]


def test_cancelled_items_are_not_run() -> None:
    seen: list[float] = []

    def note(batch: Array) -> Array:
        seen.extend(batch[:, 0])
        return batch

    async def work() -> None:
        batcher = Batcher(note, max_batch=4)
        gone = asyncio.create_task(batcher.submit(items(1)))
        stays = asyncio.create_task(batcher.submit(items(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await stays

    run(work)
    assert seen == [2]


def test_pool_shutdown_fails_waiting_requests() -> None:
    async def work() -> None:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        await Batcher(double, max_batch=4, pool=pool).submit(items(1))

    with pytest.raises(RuntimeError):
        run(work)


def test_too_few_outputs_fail_the_batch() -> None:
    async def work() -> None:
        await Batcher(lambda batch: batch[:-1], max_batch=4).submit(items(1, 2))

    with pytest.raises(InferenceError):
        run(work)


@given(
    callers=st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.booleans()), min_size=1, max_size=30),
    max_batch=st.integers(1, 8),
    pooled=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_caller_gets_its_own_outputs(callers: list[tuple[int, bool, bool]], max_batch: int, pooled: bool) -> None:
    """Submit requests of 1 to 9 items, some failing and some of another shape, with any batch limit."""

    async def work() -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(double, max_batch=max_batch, pool=pool if pooled else None, runners=2)
            return await asyncio.gather(*(batcher.submit(item) for item in inputs), return_exceptions=True)

    inputs = [
        np.full((count, 2 if wide else 1), POISON if poisoned else float(at), np.float32)
        for at, (count, poisoned, wide) in enumerate(callers)
    ]
    for given_items, (_, poisoned, _), outcome in zip(inputs, callers, run(work), strict=True):
        if poisoned:
            assert isinstance(outcome, InferenceError)
        else:
            assert (outcome.outputs == given_items * 2).all()
            assert outcome.outputs.shape == given_items.shape


def test_nonfinite_output_fails_its_own_request_only() -> None:
    def invert(batch: Array) -> Array:
        with np.errstate(divide="ignore"):
            return 1 / batch

    async def work() -> list[InferenceResult]:
        runner = SimpleNamespace(scheduler=Batcher(invert, max_batch=8), control_values=lambda *_: None)
        model: Any = SimpleNamespace(card=None, runners={"encode": runner})
        callers = [ask(model, "encode", [items(*values)]) for values in ((0.0,), (2.0,), (0.0, 4.0))]
        return await asyncio.gather(*callers)

    bad, good, mixed = run(work)
    assert isinstance(bad.outputs[0], InvalidArray)
    assert good.outputs[0] == 0.5
    assert [isinstance(output, InvalidArray) for output in mixed.outputs] == [True, False]

"""A state machine of the batcher: every admitted request gets exactly one result, its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from numpy.typing import NDArray

from service.engine.batcher import Batcher
from service.engine.scheduler import BatchResult, InferenceError

Array = NDArray[Any]
POISON = -1.0


class ByHand(Executor):
    """An executor whose work runs when the test starts it, in any order."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def work(self, at: int) -> None:
        future, task = self.waiting.pop(at % len(self.waiting))
        if future.set_running_or_notify_cancel():
            future.set_result(task())


class Machine(RuleBasedStateMachine):
    """Requests arrive, fail and are cancelled; runs end in any order, and the batch limit changes."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = ByHand()
        self.largest = 0
        self.limit = 4
        self.batcher = Batcher(self.run, max_batch=self.limit, pool=self.pool, runners=2)
        self.sent: list[tuple[asyncio.Future[BatchResult], Array]] = []
        self.left: set[int] = set()
        self.begun: list[float] = []
        self.number = 0.0

    def run(self, items: Array) -> Array:
        self.largest = max(self.largest, len(items))
        self.begun += [float(item[0]) for item in items]
        if (items[:, 1] == POISON).any():
            raise ValueError("poison")
        return items * 2 + 1

    def turn(self, turns: int = 6) -> None:
        """Run the event loop until nothing is ready."""

        async def nothing() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(nothing())

    @rule(target=jobs, count=st.integers(1, 10), poisoned=st.booleans(), width=st.sampled_from([2, 3]))
    def submit(self, count: int, poisoned: bool, width: int) -> int:
        items = np.zeros((count, width))
        items[:, 0] = self.number + np.arange(count)
        self.number += count
        if poisoned:
            items[count // 2, 1] = POISON

        async def ask() -> asyncio.Future[BatchResult]:
            return asyncio.ensure_future(self.batcher.submit(items))

        self.sent.append((self.loop.run_until_complete(ask()), items))
        return len(self.sent) - 1

    @rule(job=consumes(jobs))
    def leave(self, job: int) -> None:
        future, _ = self.sent[job]
        if not future.done():
            future.cancel()
            self.left.add(job)

    @rule(limit=st.integers(1, 6))
    def change_the_limit(self, limit: int) -> None:
        self.limit = max(self.limit, limit)
        self.batcher.max_batch = limit

    @precondition(lambda self: self.pool.waiting)
    @rule(at=st.integers(0, 1))
    def finish_a_run(self, at: int) -> None:
        self.pool.work(at)
        self.turn()

    @rule()
    def wait(self) -> None:
        self.turn()

    @invariant()
    def no_more_runs_than_runners(self) -> None:
        assert len(self.pool.waiting) <= 2

    def teardown(self) -> None:
        for _ in range(1000):
            self.turn(30)
            if not self.pool.waiting:
                break
            self.pool.work(0)
        for number, (future, items) in enumerate(self.sent):
            assert future.done(), "a request is still waiting"
            if number in self.left and future.cancelled():
                continue
            error = future.exception()
            if (items[:, 1] == POISON).any():
                assert isinstance(error, InferenceError), "a failing item must fail its request"
            else:
                assert error is None, "other requests must not fail"
                np.testing.assert_array_equal(future.result().outputs, items * 2 + 1)
        assert self.largest <= self.limit
        assert not self.batcher.running
        self.loop.close()


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase

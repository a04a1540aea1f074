"""Many callers -> one array -> each its own answer. One queue per graph, and never a timer: when a runner is free, what
waits is the next batch, once the event loop brings no more to it. Knows arrays and a function to run, not HTTP.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from service.types import Array

Run = Callable[[Array], Array]


class InferenceError(Exception):
    """The graph failed on these items; batch-mates were run again without them."""


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One caller's items (N first) and the future of their outputs."""

    items: Array
    future: "asyncio.Future[BatchResult]"
    enqueued_at: float


@dataclass(slots=True, eq=False)
class Batch:
    """Items that ran together and their outputs; the rest is worked out for all of them when the first asks."""

    items: Array
    outputs: Array
    errors: Array | None = None
    finite: bool | None = None


@dataclass(slots=True)
class BatchResult:
    """Outputs (N first), the seconds they waited and ran, and their place in the batch that they ran in."""

    outputs: Array
    queue_seconds: float
    run_seconds: float
    batch: Batch
    offset: int


class Batcher:
    """Runs a graph for many callers, at most `max_batch` items at a time.

    `pool` None runs on the event loop, for graphs known to be short; otherwise `runners` batches run in the pool
    at once. `observe` is told the items of every batch, `ran` also the seconds that the graph took for them.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch: int,
        pool: Executor | None = None,
        runners: int = 1,
        on_batch: Callable[[int], None] = lambda _: None,
        on_run: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._run, self._pool, self._on_batch, self._on_run = run, pool, on_batch, on_run
        self._free_runners = runners
        self._waiting: deque[PendingRequest] = deque()
        self._waiting_items = 0  # that wait
        self._scheduled = False
        self.max_batch = max_batch
        self.running: set[asyncio.Future[Any]] = set()  # runs in the pool
        self.completed = 0  # runs, since the start

    def submission_groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """A request's arrays as they are to be submitted: one group after the other, those of a group together."""
        return [arrays]

    async def submit(self, items: Array) -> BatchResult:
        """The outputs of `items`. More than a batch is cut into halves of one, which queue up one after the other, so
        that a bulk caller leaves room for single ones. Raises RunFailed. A cancelled caller's items never run.
        """
        if len(items) <= self.max_batch:
            return await self._enqueue(items)
        step = max(1, self.max_batch // 2)
        pieces = [await self._enqueue(items[at : at + step]) for at in range(0, len(items), step)]
        outputs = np.concatenate([piece.outputs for piece in pieces])
        queue, run = sum(piece.queue_seconds for piece in pieces), sum(piece.run_seconds for piece in pieces)
        return BatchResult(outputs, queue, run, Batch(items, outputs), 0)

    def _enqueue(self, items: Array) -> "asyncio.Future[BatchResult]":
        loop = asyncio.get_running_loop()
        job = PendingRequest(items, loop.create_future(), perf_counter())
        self._waiting.append(job)
        self._waiting_items += len(items)
        self._schedule(loop)
        return job.future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and self._free_runners and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start, loop, self._waiting_items)

    def _start(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Run what waits, once a turn of the loop has brought no more: requests that were read meanwhile join."""
        if seen < self._waiting_items < self.max_batch:
            loop.call_soon(self._start, loop, self._waiting_items)
            return
        self._scheduled = False
        batch = self._next_batch()
        if not batch:
            return
        self._free_runners -= 1
        if self._pool is None:
            self._finish(loop, batch, self._run_batch(batch))
            return
        try:
            running = loop.run_in_executor(self._pool, self._run_batch, batch)
        except RuntimeError as error:  # the pool was shut down: nobody may wait for ever
            self._finish(loop, batch, [error] * len(batch))
            return
        self.running.add(running)
        running.add_done_callback(partial(self._on_done, loop, batch))
        self._schedule(loop)

    def _next_batch(self) -> list[PendingRequest]:
        """The next jobs in order, of one shape, up to the batch limit; those whose caller has gone are dropped."""
        batch: list[PendingRequest] = []
        room = self.max_batch
        while self._waiting:
            job = self._waiting[0]
            if not job.future.done():
                if batch and (len(job.items) > room or job.items.shape[1:] != batch[0].items.shape[1:]):
                    break
                room -= len(job.items)
                batch.append(job)
            self._waiting.popleft()
            self._waiting_items -= len(job.items)
        return batch

    def _run_batch(self, batch: Sequence[PendingRequest]) -> list[BatchResult | Exception]:
        """For every job its outputs, or what went wrong with it alone."""
        start = perf_counter()
        try:
            items = batch[0].items if len(batch) == 1 else np.concatenate([job.items for job in batch])
            outputs = self._run(items)
            if len(outputs) != len(items):
                raise InferenceError(f"the graph answered {len(outputs)} items for {len(items)}")
            self._on_batch(len(items))
            self._on_run(len(items), perf_counter() - start)
        except Exception as error:  # whatever a graph raises belongs to its items
            if len(batch) == 1:
                return [InferenceError(f"{type(error).__name__}: {error}")]
            return [outcome for job in batch for outcome in self._run_batch([job])]
        seconds = perf_counter() - start
        outcomes: list[BatchResult | Exception] = []
        whole, at = Batch(items, outputs), 0
        for job in batch:
            mine = outputs if len(batch) == 1 else outputs[at : at + len(job.items)]
            outcomes.append(BatchResult(mine, start - job.enqueued_at, seconds, whole, at))
            at += len(job.items)
        return outcomes

    def _on_done(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[PendingRequest],
        running: "asyncio.Future[list[BatchResult | Exception]]",
    ) -> None:
        self.running.discard(running)
        failed = asyncio.CancelledError() if running.cancelled() else running.exception()
        outcomes = [InferenceError(str(failed))] * len(batch) if failed else running.result()
        self._finish(loop, batch, outcomes)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[PendingRequest],
        outcomes: Sequence[BatchResult | Exception],
    ) -> None:
        self._free_runners += 1
        self.completed += 1
        for job, outcome in zip(batch, outcomes, strict=True):
            if job.future.done():
                continue
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)
        self._schedule(loop)

"""Dynamic batching: joins the items of concurrent requests for one graph into batches.

There is no timer. When a runner is free, the items in the queue become the next batch, as soon as one iteration of the
event loop has added no more items. Requests may ask to wait for some more iterations.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from service.engine.queue import DEFAULT_OPTIONS, PriorityQueue, QueueOptions
from service.engine.scheduler import Batch, BatchResult, InferenceError, Run, RunHooks
from service.errors import QueueTimeout
from service.types import Array


@dataclass(slots=True, eq=False)
class PendingRequest:
    """The items of one request (N first), the values of their controls, and the future of their outputs.

    `timer` ends the request when its time in the queue is over. It is None if that time is not limited.
    """

    items: Array
    controls: Array | None
    future: "asyncio.Future[BatchResult]"
    enqueued_at: float
    timer: asyncio.TimerHandle | None = None

    def expire(self) -> None:
        """Fail the request, because it has waited too long."""
        if not self.future.done():
            self.future.set_exception(QueueTimeout("the request has waited longer than its timeout"))


class Batcher:
    """Runs a graph on batches of at most `max_batch` items.

    Up to `runners` batches run in `pool` at once. If `pool` is None, batches run on the event loop; use this for
    graphs that are known to be fast.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch: int,
        pool: Executor | None = None,
        runners: int = 1,
        hooks: RunHooks | None = None,
    ) -> None:
        self._run = run
        self._pool = pool
        self._hooks = hooks or RunHooks()
        self._free_runners = runners
        self._waiting: PriorityQueue[PendingRequest] = PriorityQueue()
        self._waiting_items = 0  # number of items in `_waiting`
        self._scheduled = False
        self._idle_turns = 0  # the largest of the requests in the queue
        self.max_batch = max_batch
        self.running: set[asyncio.Future[Any]] = set()
        self.completed = 0

    def submission_groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """Return one group with all arrays: they may share a batch."""
        return [arrays]

    async def submit(
        self, items: Array, controls: Array | None = None, options: QueueOptions = DEFAULT_OPTIONS
    ) -> BatchResult:
        """Queue items (N first) and return their outputs. `controls` are as in `Scheduler.submit`.

        More items than one batch are split into pieces, which are queued one after another: of a whole batch, or, while
        other requests wait, of half a batch, so that they can join. If the caller is cancelled while its items are
        queued, they are not run. The timeout of the options is that of the first piece. Raises InferenceError or
        QueueTimeout.
        """
        if len(items) <= self.max_batch:
            return await self._enqueue(items, controls, options)
        results: list[BatchResult] = []
        start = 0
        while start < len(items):
            piece = slice(start, start + (max(1, self.max_batch // 2) if self._waiting else self.max_batch))
            values = None if controls is None else controls[piece]
            results.append(await self._enqueue(items[piece], values, options))
            start = piece.stop
            options = options.without_timeout()
        outputs = np.concatenate([result.outputs for result in results])
        return BatchResult(
            outputs,
            queue_seconds=sum(result.queue_seconds for result in results),
            run_seconds=sum(result.run_seconds for result in results),
            batch=Batch(items, outputs),
            offset=0,
        )

    def _enqueue(self, items: Array, controls: Array | None, options: QueueOptions) -> "asyncio.Future[BatchResult]":
        loop = asyncio.get_running_loop()
        request = PendingRequest(items, controls, loop.create_future(), perf_counter())
        if options.timeout is not None:
            request.timer = loop.call_later(options.timeout, request.expire)
        self._waiting.append(request, options.priority)
        self._idle_turns = max(self._idle_turns, options.idle_turns)
        self._waiting_items += len(items)
        self._schedule(loop)
        return request.future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and self._free_runners and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start, loop, self._waiting_items, 0)

    def _start(self, loop: asyncio.AbstractEventLoop, previous_items: int, idle_turns: int) -> None:
        """Start the next batch, unless the last iteration of the event loop has added items: then wait for one more.

        `previous_items` is the number of queued items before that iteration, and `idle_turns` that of the iterations
        before it that have added none.
        """
        grown = previous_items < self._waiting_items
        if self._waiting_items < self.max_batch and (grown or idle_turns < self._idle_turns):
            loop.call_soon(self._start, loop, self._waiting_items, 0 if grown else idle_turns + 1)
            return
        self._idle_turns = 0
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
        except RuntimeError as error:  # the pool was shut down: fail the requests, so that they do not wait forever
            self._finish(loop, batch, [error] * len(batch))
            return
        self.running.add(running)
        running.add_done_callback(partial(self._on_done, loop, batch))
        self._schedule(loop)

    def _next_batch(self) -> list[PendingRequest]:
        """Take requests that fit together from the queue, in order, up to `max_batch` items.

        Drop requests that were cancelled.
        """
        batch: list[PendingRequest] = []
        room = self.max_batch
        for level in self._waiting.turn():
            while level:
                request = level[0].item
                if not request.future.done():
                    if batch and (len(request.items) > room or not _fit_together(request, batch[0])):
                        break
                    room -= len(request.items)
                    batch.append(request)
                if request.timer:
                    request.timer.cancel()
                level.popleft()
                self._waiting_items -= len(request.items)
        return batch

    def _run_batch(self, batch: Sequence[PendingRequest]) -> list[BatchResult | Exception]:
        """Run a batch and return the result or the error of each request.

        If the graph fails, run each request again alone, so that only the requests at fault get an error.
        """
        start = perf_counter()
        try:
            items = batch[0].items if len(batch) == 1 else np.concatenate([request.items for request in batch])
            controls = [request.controls for request in batch if request.controls is not None]
            outputs = self._run(items, np.concatenate(controls)) if controls else self._run(items)
            if len(outputs) != len(items):
                raise InferenceError(f"the graph returned {len(outputs)} items for {len(items)}")
            seconds = perf_counter() - start
            self._hooks.on_batch(len(items), seconds)
            self._hooks.on_run(len(items), seconds)
        except Exception as error:  # onnxruntime raises many unrelated classes
            if len(batch) == 1:
                return [InferenceError(f"{type(error).__name__}: {error}")]
            return [result for request in batch for result in self._run_batch([request])]
        seconds = perf_counter() - start
        results: list[BatchResult | Exception] = []
        joined = Batch(items, outputs)
        offset = 0
        for request in batch:
            count = len(request.items)
            own = outputs if len(batch) == 1 else outputs[offset : offset + count]
            results.append(BatchResult(own, start - request.enqueued_at, seconds, joined, offset))
            offset += count
        return results

    def _on_done(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[PendingRequest],
        running: "asyncio.Future[list[BatchResult | Exception]]",
    ) -> None:
        self.running.discard(running)
        error = asyncio.CancelledError() if running.cancelled() else running.exception()
        results = [InferenceError(str(error))] * len(batch) if error else running.result()
        self._finish(loop, batch, results)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[PendingRequest],
        results: Sequence[BatchResult | Exception],
    ) -> None:
        """Free the runner, resolve the futures of the requests and schedule the next batch."""
        self._free_runners += 1
        self.completed += 1
        for request, result in zip(batch, results, strict=True):
            if request.future.done():
                continue
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)
        self._schedule(loop)


def _fit_together(request: PendingRequest, other: PendingRequest) -> bool:
    """Return whether the items of two requests have one shape, and both or none have controls."""
    same_shape = request.items.shape[1:] == other.items.shape[1:]
    return same_shape and (request.controls is None) == (other.controls is None)

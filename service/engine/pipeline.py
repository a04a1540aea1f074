"""Admission, deadline, model run and blending of an inference request, for all front ends.

The front ends decode the inputs before, and encode the outputs after.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import ParamSpec, TypeVar

from service.card import Operation
from service.engine.admission import Admission, Demand, Slot, megapixels
from service.engine.deadline import Deadline
from service.engine.model import LoadedModel
from service.engine.operations import InferenceResult, run
from service.engine.queue import DEFAULT_OPTIONS, QueueOptions
from service.engine.strength import DEFAULT_REMOVAL, Removal, blend, run_denoise
from service.errors import Overloaded
from service.telemetry.metrics import Metrics
from service.telemetry.stages import Stages
from service.telemetry.timings import Timings
from service.types import Array, GraphKey

P = ParamSpec("P")
T = TypeVar("T")

LARGE_REQUEST_BYTES = 3 << 16  # decoded bytes above which a request is given more time


class StageExecutor:
    """Runs the CPU-bound stages of one request: on the event loop while they are small, then in the thread pool.

    Once a stage is too large for the event loop, all later stages run in the pool.
    `max_output_bytes`: largest output of a model that is still handled on the event loop.
    """

    __slots__ = ("_pool", "inline", "max_output_bytes")

    def __init__(self, pool: Executor, *, inline: bool, max_output_bytes: int = 0) -> None:
        self._pool, self.inline, self.max_output_bytes = pool, inline, max_output_bytes

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function with these arguments and return its result."""
        if self.inline:
            return function(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))


@dataclass(slots=True)
class Job:
    """One inference request, parsed and measured but not decoded.

    `decoded_bytes`: size of its arrays once decoded. `removal`: how much noise `denoise` removes.
    `started_at`, `decoded_at`, `inferred_at`: when it was created, decoded and run, on the clock of `perf_counter`; 0
    before.
    `timings`: the durations of the stages, after the job has left its slot.
    """

    model: LoadedModel
    operation: Operation
    items: int
    decoded_bytes: int
    removal: Removal = DEFAULT_REMOVAL
    queue: QueueOptions = DEFAULT_OPTIONS
    started_at: float = field(default_factory=perf_counter)
    decoded_at: float = 0.0
    inferred_at: float = 0.0
    result: InferenceResult | None = None
    timings: Timings | None = None

    @property
    def graph_key(self) -> GraphKey:
        """What identifies the graph in metrics."""
        return self.model.runners[self.operation].key

    def stages(self) -> Stages | None:
        """Return the stages for the trace of the request, None if the job was not answered."""
        if self.timings is None or self.result is None:
            return None
        batch = self.result.batch_result
        precision = self.model.runners[self.operation].choices.get("precision")
        return Stages(
            graph=self.graph_key,
            precision=str(precision.value) if precision else "",
            items=self.items,
            batch_size=len(batch.batch.items) if batch else self.items,
            started_at=self.started_at,
            decoded_at=self.decoded_at,
            inferred_at=self.inferred_at,
            timings=self.timings,
        )


@dataclass(slots=True)
class JobGuards:
    """What may reject or end a job, and what observes it.

    `seconds_per_megapixel`: extension of the deadline for large requests.
    """

    admission: Admission
    deadline: Deadline
    seconds_per_megapixel: float
    metrics: Metrics


def admit(job: Job, limits: JobGuards | None) -> AbstractContextManager[None]:
    """Extend the deadline for the bytes in flight and return a context manager that holds the job's slot.

    Entering it raises Overloaded if the job does not fit. Without limits every job is admitted.
    """
    if limits is None:
        return nullcontext()
    runs = job.removal.runs
    inflight_bytes = limits.admission.nbytes + job.decoded_bytes * runs
    if inflight_bytes > LARGE_REQUEST_BYTES:
        limits.deadline.extend(limits.seconds_per_megapixel * megapixels(inflight_bytes))
    work = job.decoded_bytes if job.model.card.any_size else job.items
    demand = Demand(job.items, job.decoded_bytes, job.model.runners[job.operation].load, work * runs)
    return JobSlot(job, demand, limits)


class JobSlot(Slot):
    """A slot that records the outcome and the timings of its job."""

    __slots__ = ("_job", "_metrics")

    def __init__(self, job: Job, demand: Demand, limits: JobGuards) -> None:
        super().__init__(limits.admission, demand, limits.deadline.seconds)
        self._job, self._metrics = job, limits.metrics

    def __enter__(self) -> None:
        try:
            self.admission.acquire(self.demand, self.seconds)
        except Overloaded:
            self._record_failure()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.admission.release(self.demand)
        job = self._job
        if kind is not None or job.result is None:
            self._record_failure()
            return
        job.timings = Timings(
            decode=job.decoded_at - job.started_at,
            queue=job.result.queue_seconds,
            run=job.result.run_seconds,
            encode=perf_counter() - job.inferred_at,
        )
        self._metrics.observe_inference(job.graph_key, job.items, job.timings)

    def _record_failure(self) -> None:
        self._metrics.observe_failure(self._job.graph_key, perf_counter() - self._job.started_at)


async def infer(job: Job, arrays: Sequence[Array], executor: StageExecutor) -> InferenceResult:
    """Run the model on arrays (N first), and remove as much noise as the job requests. Call it inside `admit`.

    Raises OperationNotSupported if the model lacks the operation, and QueueTimeout. Items that fail are problems in the
    result.
    """
    job.decoded_at = perf_counter()
    if job.removal == DEFAULT_REMOVAL:
        job.result = result = await run(job.model, job.operation, arrays, options=job.queue)
        denoised = None
    else:
        denoised = await run_denoise(job.model, arrays, job.removal, job.queue)
        job.result = result = denoised.result
    job.inferred_at = perf_counter()
    if result.nbytes > executor.max_output_bytes:
        executor.inline = False
    if denoised:
        await executor.run(blend, denoised, arrays)
    return result

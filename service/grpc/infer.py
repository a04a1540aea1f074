"""Runs inference requests received over gRPC, single or streamed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from service.engine.admission import BodyReservation
from service.engine.deadline import Deadline
from service.engine.pipeline import JobGuards, StageExecutor
from service.engine.tensor_inference import INLINE_IMAGE_BYTES, TensorCall, infer_tensors, output_port
from service.errors import InvalidArray, Problem
from service.grpc.call import GrpcCall, to_problem
from service.grpc.messages import GrpcRequest, parse_infer_request, serialize_response, split_raw
from service.oip.names import split_name
from service.oip.requests import InferRequest, RequestedOutput
from service.oip.tensors import InferResponse
from service.repository.open_inference import ServedModel, check_options, find_model
from service.types import Array

Parts = list[bytes | memoryview]

IDLE_TURNS = 8
"""Iterations of the event loop that batches wait for. Without it concurrent calls would never share a batch, because
grpcio accepts one call after another, each in several iterations."""
STREAM_WINDOW = 32
"""Requests of one stream that are run at once; further ones are read when the first is answered."""


@dataclass(slots=True)
class Outcome:
    """The parts of a response, or the text of an error with the id of its request."""

    result: Parts | str
    request_id: str = ""


async def run_request(call: GrpcCall, data: bytes) -> Parts:
    """Run a serialized ModelInferRequest and return the parts of its response. Raises a Problem."""
    state = call.state
    settings = state.settings
    with (
        BodyReservation(state.admission) as reservation,
        Deadline(state.timer, settings.request_timeout, call.seconds) as deadline,
    ):
        reservation.add(len(data))
        # Raw tensors are not parsed, so a message of any size is parsed at once, except for one of typed contents.
        executor = StageExecutor(state.pool, inline=len(data) <= INLINE_IMAGE_BYTES)
        parsed: GrpcRequest = await executor.run(parse_infer_request, data)
        operation = split_name(parsed.model_name).operation
        call.authorize(f"/{operation}" if operation else "/v2/models")
        served = await find_model(state.store, parsed.model_name, parsed.model_version, shared=True)
        call.model = served.model.card.name
        check_options(served, parsed.request.parameters)
        guards = JobGuards(state.admission, deadline, settings.request_timeout_per_megapixel, state.metrics)
        tensors = TensorCall(parsed.request, served.model, served.operation, settings, _reject_text, IDLE_TURNS)
        answer = await infer_tensors(tensors, guards, executor, partial(_encode, served, parsed.request))
    call.record_job(answer.job)
    return answer.response


def _encode(served: ServedModel, request: InferRequest, output: RequestedOutput, array: Array) -> Parts:
    port = output_port(served.model, served.operation)
    parameters = {"triton_final_response": True} if request.parameters.final_response else {}
    response = InferResponse(served.name, served.version, request.id, output, port, parameters)
    return serialize_response(response, array)


def _reject_text(_: str) -> bytes:
    raise InvalidArray("elements of a BYTES tensor must be bytes")


async def stream(requests: AsyncIterable[bytes], create_call: Callable[[], GrpcCall]) -> AsyncGenerator[Outcome]:
    """Run the requests of a stream, at most `STREAM_WINDOW` at once, and yield their outcomes in order.

    If the client leaves, the requests in progress are cancelled.
    """
    pending: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue(STREAM_WINDOW)
    tasks: set[asyncio.Task[Outcome]] = set()

    async def read() -> None:
        async for request in requests:
            task = asyncio.create_task(_outcome(create_call(), request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await pending.put(task)
        await pending.put(None)

    reader = asyncio.create_task(read())
    try:
        while True:
            task = await _next_task(pending, reader)
            if task is None:
                return
            yield await task
    finally:
        for each in (reader, *tasks):
            each.cancel()
        with suppress(asyncio.CancelledError):
            await reader


async def _next_task(
    pending: "asyncio.Queue[asyncio.Task[Outcome] | None]", reader: "asyncio.Task[None]"
) -> "asyncio.Task[Outcome] | None":
    """Return the next task, or None at the end of the stream. Raises the error of the reader."""
    getting = asyncio.ensure_future(pending.get())
    try:
        await asyncio.wait((getting, reader), return_when=asyncio.FIRST_COMPLETED)
        if not getting.done() and reader.done() and (error := reader.exception()):
            raise error
        return await getting
    finally:
        getting.cancel()


async def _outcome(call: GrpcCall, request: bytes) -> Outcome:
    """Run one request of a stream. Errors are its outcome, so that the stream goes on."""
    try:
        parts = await run_request(call, request)
        call.status = 200
        return Outcome(parts)
    except Exception as error:
        problem = to_problem(call, error)
        call.status, call.rejection = problem.status, problem.type
        return Outcome(problem.detail, _request_id(request))
    finally:
        call.record()


def _request_id(data: bytes) -> str:
    """Return the id of a request, or an empty string if it cannot be parsed."""
    with suppress(Problem):
        return parse_infer_request(split_raw(data).head).request.id
    return ""

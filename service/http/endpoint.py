"""One operation as an ASGI callable: body in, room taken, decoded, run, written, answered. Knows no route."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

import structlog
from starlette.types import Receive, Scope, Send

from service.card import ImageInput, Operation
from service.codec import is_fast_path
from service.engine.admission import BodyReservation, megapixels
from service.engine.deadline import Deadline
from service.engine.images import image_media_type
from service.engine.model import LoadedModel
from service.engine.operations import blend, run
from service.errors import (
    BodyTooLarge,
    InternalError,
    OperationNotSupported,
    Problem,
)
from service.http.body import decode_inputs, parse_body
from service.http.context import RequestContext, create_context, get_state, send_response
from service.http.negotiation import response_type
from service.http.parameters import RequestParameters, client_timeout, parse_request
from service.http.problems import problem_response
from service.http.responses import ResponseParts, render
from service.http.unpack import NPY
from service.state import State
from service.types import Headers

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BODY_BYTES = (
    64 << 10
)  # bytes of a body handled on the event loop; of decoded pictures and outputs three times as many
INLINE_ARRAY_BYTES = 1 << 20  # bytes of an array handled there, as it lies, or of a picture of which the header is read
LARGE_REQUEST_BYTES = (
    3 << 16
)  # decoded bytes above which a caller is watched for leaving, and time is given by what is under way

log = structlog.get_logger()


class ClientDisconnect(Exception):
    """The caller has gone; there is nobody to answer."""


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation
        self.route = f"/{operation}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: RequestContext = scope.get("context") or create_context(scope)
        exchange.route, exchange.status = self.route, 499  # unless there is an answer
        try:
            body, headers = await self.handle(scope, receive, exchange)
            exchange.status = 200
        except ClientDisconnect:
            return
        except Problem as problem:
            exchange.status, body, headers = problem_response(problem.without_traceback(), exchange.id)
        except Exception:  # nothing of ours may reach the caller but an id
            log.exception("request_failed", id=exchange.id, path=exchange.route)
            problem = InternalError("quote the id when reporting this")
            exchange.status, body, headers = problem_response(problem, exchange.id)
        await send_response(exchange, send, body, headers)

    async def handle(self, scope: Scope, receive: Receive, exchange: RequestContext) -> tuple[bytes, Headers]:
        """The answer's body and headers. Raises the Problem to answer with, or Disconnected."""
        state, parameters = get_state(scope), parse_request(scope, exchange.headers, self.operation)
        settings = state.settings
        model = await state.store.get(
            parameters.model or state.store.default_for(self.operation, settings), parameters.version
        )
        if self.operation not in model.runners:
            raise OperationNotSupported(f"{model.card.name} offers {', '.join(model.runners)}")
        exchange.model = model.card.name
        timeout = client_timeout(exchange.headers)
        with BodyReservation(state.admission) as hold:
            data = await read_body(receive, exchange.headers, settings.max_body_bytes, hold)
            with Deadline(settings.request_timeout, timeout) as deadline:
                return await self.process(state, model, parameters, data, exchange, deadline, receive)

    async def process(
        self,
        state: State,
        model: LoadedModel,
        parameters: RequestParameters,
        data: bytes,
        exchange: RequestContext,
        deadline: Deadline,
        receive: Receive,
    ) -> tuple[bytes, Headers]:
        """Unpack, take room, decode, run, write."""
        card, operation, settings, started = model.card, self.operation, state.settings, perf_counter()
        pool = None if is_cheap_to_parse(data, parameters.content_type) else state.pool
        args = (data, parameters.content_type, card, operation, settings)
        body = parse_body(*args) if pool is None else await run_in_pool(pool, parse_body, *args)
        if parameters.content_type != NPY and body.decoded_bytes > 3 * INLINE_BODY_BYTES:
            pool = state.pool
        items, long = len(body), body.decoded_bytes > LARGE_REQUEST_BYTES
        inflight_bytes, graph_load = state.admission.nbytes + body.decoded_bytes, model.runners[operation].load
        if inflight_bytes > LARGE_REQUEST_BYTES:
            deadline.extend(settings.request_timeout_per_megapixel * megapixels(inflight_bytes))
        load = body.decoded_bytes if card.any_size else items
        state.admission.acquire(items, body.decoded_bytes, graph_load, load, deadline.seconds)
        try:
            given = (body, card, operation, settings, parameters)
            inputs = decode_inputs(*given) if pool is None else await run_in_pool(pool, decode_inputs, *given)
            pictures = operation != "encode" and isinstance(card.input, ImageInput)
            input_type = image_media_type(inputs.pictures)
            media_type = response_type(pictures, body.kind, items > 1, input_type, parameters.accept, parameters.format)
            decoded = perf_counter()
            running = run(model, operation, inputs.arrays)
            outcome = await (cancel_on_disconnect(receive, running) if long else running)
            ran = perf_counter()
            if outcome.nbytes > (INLINE_ARRAY_BYTES if media_type == NPY else 3 * INLINE_BODY_BYTES):
                pool = state.pool
            if parameters.strength < 1:
                strong = (outcome, inputs.arrays, parameters.strength)
                blend(*strong) if pool is None else await run_in_pool(pool, blend, *strong)
            keep = (parameters.metadata or settings.metadata) == "keep"
            reply = ResponseParts(card, operation, inputs, outcome, exchange.id, settings.image_quality, keep)
            payload, headers = (
                render(reply, media_type) if pool is None else await run_in_pool(pool, render, reply, media_type)
            )
        finally:
            state.admission.release(items, body.decoded_bytes, graph_load, load)
        exchange.timings = (decoded - started, outcome.queue_seconds, outcome.run_seconds, perf_counter() - ran)
        headers.append((b"server-timing", server_timing(exchange.timings)))
        return payload, headers


def is_cheap_to_parse(data: bytes, content_type: str) -> bool:
    """Whether to unpack the body takes less than a millisecond, whatever it holds."""
    if len(data) <= INLINE_BODY_BYTES:
        return True
    as_it_lies = content_type == NPY or (content_type.startswith("image/") and is_fast_path(data))
    return as_it_lies and len(data) <= INLINE_ARRAY_BYTES


def server_timing(timings: tuple[float, float, float, float]) -> bytes:
    """The Server-Timing header: milliseconds of each part."""
    decode, queue, run, encode = timings
    return b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f" % (
        decode * 1e3,
        queue * 1e3,
        run * 1e3,
        encode * 1e3,
    )


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int, hold: BodyReservation) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as its announced or real size is over the limit, Overloaded as soon
    as it is more than can be held beside others, or Disconnected.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise BodyTooLarge(f"a body may have {limit} bytes")
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        if not more and not chunks and len(chunk) <= min(limit, INLINE_BODY_BYTES):
            return chunk  # most are: it came at once, and is no matter
        hold.add(len(chunk))
        if hold.size > limit:
            raise BodyTooLarge(f"a body may have {limit} bytes")
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)


async def run_in_pool(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The work's result, done in the pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; it is stopped when the caller leaves. Raises Disconnected."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

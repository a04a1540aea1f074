"""One operation as an ASGI callable: body in, room taken, decoded, run, written, answered. Knows no route."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

import structlog
from starlette.types import Receive, Scope, Send

from service.card import ImageInput, Operation
from service.codec import plain
from service.engine.admission import Hold, megapixels
from service.engine.deadline import Deadline
from service.engine.images import picture_type
from service.engine.model import Autoencoder
from service.engine.operations import blend, run
from service.errors import (
    BodyTooLarge,
    InternalError,
    OperationNotOffered,
    Problem,
)
from service.http.body import load, unwrap
from service.http.context import Exchange, begin, respond, state_of
from service.http.negotiation import answer_type
from service.http.parameters import Wish, timeout_of, wish_of
from service.http.problems import problem_answer
from service.http.responses import Reply, write
from service.http.unpack import NPY
from service.state import State
from service.types import Headers

P = ParamSpec("P")
T = TypeVar("T")

SHORT_BODY = 64 << 10  # bytes of a body handled on the event loop; of decoded pictures and outputs three times as many
SHORT_ARRAY = 1 << 20  # bytes of an array handled there, as it lies, or of a picture of which the header is read
LONG = 3 << 16  # decoded bytes above which a caller is watched for leaving, and time is given by what is under way

log = structlog.get_logger()


class Disconnected(Exception):
    """The caller has gone; there is nobody to answer."""


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation
        self.path = f"/{operation}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope.get("exchange") or begin(scope)
        exchange.path, exchange.status = self.path, 499  # unless there is an answer
        try:
            body, headers = await self.answer(scope, receive, exchange)
            exchange.status = 200
        except Disconnected:
            return
        except Problem as problem:
            exchange.status, body, headers = problem_answer(problem.bare(), exchange.id)
        except Exception:  # nothing of ours may reach the caller but an id
            log.exception("request failed", id=exchange.id, path=exchange.path)
            problem = InternalError("quote the id when reporting this")
            exchange.status, body, headers = problem_answer(problem, exchange.id)
        await respond(exchange, send, body, headers)

    async def answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> tuple[bytes, Headers]:
        """The answer's body and headers. Raises the Problem to answer with, or Disconnected."""
        state, wish = state_of(scope), wish_of(scope, exchange.headers, self.operation)
        settings = state.settings
        model = await state.store.get(wish.model or state.store.choose(self.operation, settings), wish.version)
        if self.operation not in model.runners:
            raise OperationNotOffered(f"{model.card.name} offers {', '.join(model.runners)}")
        exchange.model = model.card.name
        asked = timeout_of(exchange.headers)
        with Hold(state.admission) as hold:
            data = await read_body(receive, exchange.headers, settings.max_body, hold)
            with Deadline(settings.deadline, asked) as deadline:
                return await self.work(state, model, wish, data, exchange, deadline, receive)

    async def work(
        self,
        state: State,
        model: Autoencoder,
        wish: Wish,
        data: bytes,
        exchange: Exchange,
        deadline: Deadline,
        receive: Receive,
    ) -> tuple[bytes, Headers]:
        """Unpack, take room, decode, run, write."""
        card, operation, settings, started = model.card, self.operation, state.settings, perf_counter()
        pool = None if looked_at_shortly(data, wish.content_type) else state.pool
        args = (data, wish.content_type, card, operation, settings)
        parcel = unwrap(*args) if pool is None else await aside(pool, unwrap, *args)
        if wish.content_type != NPY and parcel.size > 3 * SHORT_BODY:
            pool = state.pool
        items, long = len(parcel), parcel.size > LONG
        beside, line = state.admission.size + parcel.size, model.runners[operation].line
        if beside > LONG:
            deadline.allow(settings.deadline_megapixel * megapixels(beside))
        work = parcel.size if card.any_size else items
        state.admission.enter(items, parcel.size, line, work, deadline.seconds)
        try:
            given = (parcel, card, operation, settings, wish)
            inputs = load(*given) if pool is None else await aside(pool, load, *given)
            pictures = operation != "encode" and isinstance(card.input, ImageInput)
            came_as = picture_type(inputs.pictures)
            kind = answer_type(pictures, parcel.origin, items > 1, came_as, wish.accept, wish.format)
            decoded = perf_counter()
            running = run(model, operation, inputs.arrays)
            outcome = await (unless_gone(receive, running) if long else running)
            ran = perf_counter()
            if outcome.size > (SHORT_ARRAY if kind == NPY else 3 * SHORT_BODY):
                pool = state.pool
            if wish.strength < 1:
                strong = (outcome, inputs.arrays, wish.strength)
                blend(*strong) if pool is None else await aside(pool, blend, *strong)
            keep = (wish.metadata or settings.metadata) == "keep"
            reply = Reply(card, operation, inputs, outcome, exchange.id, settings.quality, keep)
            payload, headers = write(reply, kind) if pool is None else await aside(pool, write, reply, kind)
        finally:
            state.admission.leave(items, parcel.size, line, work)
        exchange.stages = (decoded - started, outcome.queue, outcome.run, perf_counter() - ran)
        headers.append((b"server-timing", server_timing(exchange.stages)))
        return payload, headers


def looked_at_shortly(data: bytes, content_type: str) -> bool:
    """Whether to unpack the body takes less than a millisecond, whatever it holds."""
    if len(data) <= SHORT_BODY:
        return True
    as_it_lies = content_type == NPY or (content_type.startswith("image/") and plain(data))
    return as_it_lies and len(data) <= SHORT_ARRAY


def server_timing(stages: tuple[float, float, float, float]) -> bytes:
    """The Server-Timing header: milliseconds of each part."""
    decode, queue, run, encode = stages
    return b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f" % (
        decode * 1e3,
        queue * 1e3,
        run * 1e3,
        encode * 1e3,
    )


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int, hold: Hold) -> bytes:
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
            raise Disconnected
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        if not more and not chunks and len(chunk) <= min(limit, SHORT_BODY):
            return chunk  # most are: it came at once, and is no matter
        hold.grow(len(chunk))
        if hold.size > limit:
            raise BodyTooLarge(f"a body may have {limit} bytes")
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)


async def aside(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The work's result, done in the pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; it is stopped when the caller leaves. Raises Disconnected."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Disconnected
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""One operation as an ASGI callable: body in, room taken, decoded, run, written, answered. Knows no route."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qsl

import structlog
from starlette.types import Receive, Scope, Send

from service import answers, inputs, negotiation
from service.card import Operation
from service.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    OperationNotOffered,
    Problem,
    UnsupportedMediaType,
)
from service.exchange import Exchange, State, begin, problem_answer, state_of
from service.operations import OPERATIONS
from service.store import Autoencoder

P = ParamSpec("P")
T = TypeVar("T")

SHORT_BODY = 64 << 10  # bytes of a body handled on the event loop; of its decoded pictures three times as many

log = structlog.get_logger()


class Disconnected(Exception):
    """The caller has gone; there is nobody to answer."""


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope.get("exchange") or begin(scope)
        exchange.path = f"/{self.operation}"
        status, headers = 200, {}
        try:
            body, headers = await self.answer(scope, receive, exchange)
        except Disconnected:
            exchange.status = 499
            return
        except Problem as problem:
            status, body, headers = problem_answer(problem, exchange.id)
        except Exception:  # nothing of ours may reach the caller but an id
            log.exception("request failed", id=exchange.id, path=exchange.path)
            status, body, headers = problem_answer(InternalError("quote the id when reporting this"), exchange.id)
        headers["content-length"] = str(len(body))
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> tuple[bytes, dict[str, str]]:
        """The answer's body and headers. Raises the Problem to answer with, or Disconnected."""
        state = state_of(scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed("send POST", headers={"allow": "POST"})
        query = parse_query(scope["query_string"])
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType("send the body without Content-Encoding")
        model = await self.model(state, query)
        data = await read_body(receive, headers, state.settings.max_body)
        try:
            async with asyncio.timeout(state.settings.deadline):
                return await self.work(state, model, data, headers, query, exchange)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not done within {state.settings.deadline:g} s") from error

    async def model(self, state: State, query: dict[str, str]) -> Autoencoder:
        """The model that the request asks for. Raises what is wrong with its wish."""
        name = query.get("model") or state.store.choose(self.operation, state.settings.default(self.operation))
        version = query.get("version", "")
        if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
            raise InvalidParameter("version is a positive integer")
        model = await state.store.get(name, int(version) if version else None)
        if self.operation not in model.runners:
            raise OperationNotOffered(f"{model.card.name} offers {', '.join(model.runners)}")
        return model

    async def work(
        self,
        state: State,
        model: Autoencoder,
        data: bytes,
        headers: dict[bytes, bytes],
        query: dict[str, str],
        exchange: Exchange,
    ) -> tuple[bytes, dict[str, str]]:
        """Decode, wait, run, encode."""
        card, settings, started = model.card, state.settings, perf_counter()
        exchange.model = card.name
        pool = None if len(data) <= SHORT_BODY else state.pool
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        body = await do(pool, negotiation.unpack, data, content_type, card, self.operation, settings.max_items)
        size = await do(pool, inputs.measure, body, card, settings)
        pool = pool or (None if size <= 3 * SHORT_BODY else state.pool)
        with state.admission.admit(len(body), size):
            items = await do(pool, inputs.load, body, card, self.operation, settings)
            kind = self.negotiate(model, body, items, headers, query)
            decoded = perf_counter()
            outcome = await OPERATIONS[self.operation](model, items.arrays)
            ran = perf_counter()
            reply = answers.Reply(card, self.operation, items, outcome, exchange.id, settings.quality)
            payload, extra = await do(pool, answers.write, reply, kind)
        exchange.stages = (decoded - started, outcome.queue, outcome.run, perf_counter() - ran)
        extra["server-timing"] = server_timing(exchange.stages)
        return payload, extra

    def negotiate(
        self,
        model: Autoencoder,
        body: negotiation.Body,
        items: inputs.Inputs,
        headers: dict[bytes, bytes],
        query: dict[str, str],
    ) -> str:
        """The type of the answer."""
        picture = items.pictures[0] if items.pictures else None
        types = negotiation.offered(
            model.card, self.operation, body, answers.picture_type(picture.type if picture else "")
        )
        accept = headers.get(b"accept", b"").decode("latin-1")
        return negotiation.choose(accept, query.get("format", ""), types)


def server_timing(stages: tuple[float, float, float, float]) -> str:
    """The Server-Timing header: milliseconds of each part."""
    decode, queue, run, encode = (seconds * 1000 for seconds in stages)
    return f"decode;dur={decode:.3f}, queue;dur={queue:.3f}, run;dur={run:.3f}, encode;dur={encode:.3f}"


def parse_query(query: bytes) -> dict[str, str]:
    """The parameters of an operation. Raises InvalidParameter on others and on repeated ones."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise InvalidParameter("the query string is malformed") from error
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= {"model", "version", "format"}:
        raise InvalidParameter("the query takes model, version and format, each once")
    return found


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as its announced or real size is over the limit, or Disconnected."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise BodyTooLarge(f"a body may have {limit} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"a body may have {limit} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunk if len(chunks) == 1 else b"".join(chunks)


async def do(pool: Executor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The work's result, done here or in the pool."""
    if pool is None:
        return work(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))

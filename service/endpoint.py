"""One operation as an ASGI callable: body in, room taken, decoded, run, written, answered. Knows no route."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qsl

import structlog
from starlette.types import Receive, Scope, Send

from service.answers import Reply, picture_type, write
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
from service.inputs import load, open_all
from service.negotiation import choose, offered, unpack
from service.operations import OPERATIONS
from service.store import Autoencoder

P = ParamSpec("P")
T = TypeVar("T")

SHORT_BODY = 64 << 10  # bytes of a body handled on the event loop; of its decoded pictures three times as many

log = structlog.get_logger()


class Disconnected(Exception):
    """The caller has gone; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for, by its query and head."""

    model: str
    version: int | None
    format: str
    accept: str
    content_type: str

    @classmethod
    def of(cls, scope: Scope) -> "Wish":
        """The wish of a request. Raises MethodNotAllowed, InvalidParameter or UnsupportedMediaType."""
        if scope["method"] != "POST":
            raise MethodNotAllowed("send POST", headers={"allow": "POST"})
        query = parse_query(scope["query_string"])
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get(b"content-encoding", "identity") != "identity":
            raise UnsupportedMediaType("send the body without Content-Encoding")
        version = query.get("version", "")
        if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
            raise InvalidParameter("version is a positive integer")
        return cls(
            model=query.get("model", ""),
            version=int(version) if version else None,
            format=query.get("format", ""),
            accept=headers.get(b"accept", ""),
            content_type=headers.get(b"content-type", ""),
        )


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
        state, wish = state_of(scope), Wish.of(scope)
        model = await self.model(state, wish)
        data = await read_body(receive, scope, state.settings.max_body)
        try:
            async with asyncio.timeout(state.settings.deadline):
                return await self.work(state, model, wish, data, exchange)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not done within {state.settings.deadline:g} s") from error

    async def model(self, state: State, wish: Wish) -> Autoencoder:
        """The model that the request asks for. Raises what is wrong with its wish."""
        name = wish.model or state.store.choose(self.operation, state.settings.default(self.operation))
        model = await state.store.get(name, wish.version)
        if self.operation not in model.runners:
            raise OperationNotOffered(f"{model.card.name} offers {', '.join(model.runners)}")
        return model

    async def work(
        self, state: State, model: Autoencoder, wish: Wish, data: bytes, exchange: Exchange
    ) -> tuple[bytes, dict[str, str]]:
        """Unpack, take room, decode, run, write."""
        card, settings, started = model.card, state.settings, perf_counter()
        exchange.model = card.name
        pool = None if len(data) <= SHORT_BODY else state.pool
        body = await do(pool, unpack, data, wish.content_type, card, self.operation, settings.max_items)
        opened, size = await do(pool, open_all, body, card, settings)
        pool = pool or (None if size <= 3 * SHORT_BODY else state.pool)
        with state.admission.admit(len(body), size):
            inputs = await do(pool, load, body, opened, card, self.operation, settings)
            kind = choose(wish.accept, wish.format, offered(card, self.operation, body, picture_type(inputs.pictures)))
            decoded = perf_counter()
            outcome = await OPERATIONS[self.operation](model, inputs.arrays)
            ran = perf_counter()
            reply = Reply(card, self.operation, inputs, outcome, exchange.id, settings.quality)
            payload, headers = await do(pool, write, reply, kind)
        exchange.stages = (decoded - started, outcome.queue, outcome.run, perf_counter() - ran)
        headers["server-timing"] = server_timing(exchange.stages)
        return payload, headers


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


async def read_body(receive: Receive, scope: Scope, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as its announced or real size is over the limit, or Disconnected."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
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

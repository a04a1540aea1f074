"""One operation as an ASGI callable: body in, room taken, decoded, run, written, answered. Knows no route."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import parse_qsl

import structlog
from starlette.types import Receive, Scope, Send

from service.answers import Headers, Reply, picture_type, write
from service.card import Operation
from service.deadline import Deadline
from service.errors import (
    BodyTooLarge,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    OperationNotOffered,
    Problem,
    UnsupportedMediaType,
)
from service.exchange import Exchange, State, begin, problem_answer, state_of
from service.inputs import load, unwrap
from service.negotiation import NPY, choose, offered
from service.operations import run
from service.store import Autoencoder

P = ParamSpec("P")
T = TypeVar("T")

SHORT_BODY = 64 << 10  # bytes of a body handled on the event loop; of its decoded pictures three times as many
SHORT_ARRAY = 1 << 20  # bytes of an array handled there: it is taken as it lies
SHORT_QUERY = 256  # bytes of a query that is remembered with what it says

log = structlog.get_logger()


class Disconnected(Exception):
    """The caller has gone; there is nobody to answer."""


class Query(NamedTuple):
    """The parameters of an operation."""

    model: str = ""
    version: int | None = None
    format: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for, by its query and head."""

    query: Query
    accept: str
    content_type: str

    @classmethod
    def of(cls, scope: Scope, headers: Mapping[bytes, bytes]) -> "Wish":
        """The wish of a request. Raises MethodNotAllowed, InvalidParameter or UnsupportedMediaType."""
        if scope["method"] != "POST":
            raise MethodNotAllowed("send POST", headers={"allow": "POST"})
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType("send the body without Content-Encoding")
        text = scope["query_string"]
        query = parse_query(text) if len(text) <= SHORT_QUERY else parse_query.__wrapped__(text)
        accept, content_type = headers.get(b"accept", b""), headers.get(b"content-type", b"")
        return cls(query, accept.decode("latin-1"), content_type.decode("latin-1"))


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope.get("exchange") or begin(scope)
        exchange.path = f"/{self.operation}"
        status = 200
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
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> tuple[bytes, Headers]:
        """The answer's body and headers. Raises the Problem to answer with, or Disconnected."""
        state, wish = state_of(scope), Wish.of(scope, exchange.headers)
        model = await self.model(state, wish.query)
        data = await read_body(receive, exchange.headers, state.settings.max_body)
        with Deadline(state.settings.deadline):
            return await self.work(state, model, wish, data, exchange)

    async def model(self, state: State, query: Query) -> Autoencoder:
        """The model that the request asks for. Raises what is wrong with its wish."""
        name = query.model or state.store.choose(self.operation, state.settings.default(self.operation))
        model = await state.store.get(name, query.version)
        if self.operation not in model.runners:
            raise OperationNotOffered(f"{model.card.name} offers {', '.join(model.runners)}")
        return model

    async def work(
        self, state: State, model: Autoencoder, wish: Wish, data: bytes, exchange: Exchange
    ) -> tuple[bytes, Headers]:
        """Unpack, take room, decode, run, write."""
        card, operation, settings, started = model.card, self.operation, state.settings, perf_counter()
        exchange.model = card.name
        pool = None if len(data) <= (SHORT_ARRAY if wish.content_type == NPY else SHORT_BODY) else state.pool
        parcel = await do(pool, unwrap, data, wish.content_type, card, operation, settings)
        if wish.content_type != NPY and parcel.size > 3 * SHORT_BODY:
            pool = state.pool
        with state.admission.admit(len(parcel.body), parcel.size):
            inputs = await do(pool, load, parcel, card, operation, settings)
            types = offered(card, operation, parcel.body, picture_type(inputs.pictures))
            kind = choose(wish.accept, wish.query.format, types)
            decoded = perf_counter()
            outcome = await run(model, operation, inputs.arrays)
            ran = perf_counter()
            reply = Reply(card, operation, inputs, outcome, exchange.id, settings.quality)
            payload, headers = await do(pool, write, reply, kind)
        exchange.stages = (decoded - started, outcome.queue, outcome.run, perf_counter() - ran)
        headers.append((b"server-timing", server_timing(exchange.stages)))
        return payload, headers


def server_timing(stages: tuple[float, float, float, float]) -> bytes:
    """The Server-Timing header: milliseconds of each part."""
    decode, queue, run, encode = stages
    return b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f" % (
        decode * 1e3,
        queue * 1e3,
        run * 1e3,
        encode * 1e3,
    )


@lru_cache(maxsize=256)
def parse_query(text: bytes) -> Query:
    """The parameters of an operation. Raises InvalidParameter on others and on repeated ones."""
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise InvalidParameter("the query string is malformed") from error
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= set(Query._fields):
        raise InvalidParameter("the query takes model, version and format, each once")
    version = found.pop("version", "")
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
        raise InvalidParameter("version is a positive integer")
    return Query(version=int(version) if version else None, **found)


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
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

"""What surrounds every request, whatever it asks: what all share, its id, its metrics, its problem document."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.types import Scope, Send

from service.state import State

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

log = structlog.get_logger()


@dataclass(slots=True)
class RequestContext:
    """One request and what becomes of it. `headers`: what came in; repeated ones are joined by commas."""

    id: str
    headers: dict[bytes, bytes]
    started_at: float
    route: str = "other"
    model: str = ""
    key_name: str = ""
    status: int = 0
    timings: tuple[float, float, float, float] | None = None


def get_state(scope: Scope) -> State:
    """The lifespan's state."""
    state: State = scope["state"]["service"]
    return state


def create_context(scope: Scope) -> RequestContext:
    """The request's id: the caller's where it is fit to be repeated, else its trace's, else a new one."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        headers = merge_headers(scope["headers"])
    given, trace = headers.get(b"x-request-id"), headers.get(b"traceparent")
    if given is not None and REQUEST_ID.fullmatch(given):
        found = given.decode()
    elif trace is not None and (match := TRACEPARENT.fullmatch(trace)):
        found = match[1].decode()
    else:
        found = os.urandom(8).hex()
    exchange = scope["context"] = RequestContext(found, headers, perf_counter())
    return exchange


def merge_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, the values of a repeated one as one list (RFC 9110, 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = b", ".join((found[name], value)) if name in found else value
    return found


def record_request(exchange: RequestContext, state: State, scope: Scope) -> None:
    """Count the request, and log it where it failed or logging is on."""
    seconds = perf_counter() - exchange.started_at
    state.metrics.count_request(exchange.route, exchange.model, exchange.status, seconds)
    if exchange.timings:
        state.metrics.observe_timings(exchange.timings)
    if state.settings.access_log or exchange.status >= 500:
        log.info(
            "request",
            id=exchange.id,
            method=scope["method"],
            path=exchange.route,
            model=exchange.model,
            key=exchange.key_name,
            status=exchange.status,
            ms=round(seconds * 1000, 2),
        )


async def send_response(exchange: RequestContext, send: Send, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole answer of the exchange's status, with the request's id."""
    headers.append((b"x-request-id", exchange.id.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

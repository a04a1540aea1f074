"""The context of a request: its id, headers, metrics and log line, and the functions that every response shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.types import Scope, Send

from service.state import State
from service.telemetry.request_ids import request_id
from service.telemetry.timings import Timings

log = structlog.get_logger()


@dataclass(slots=True)
class RequestContext:
    """A request and the outcome so far.

    `headers`: request headers by lower-case name, repeated ones joined by commas. `started_at`: arrival, on the clock
    of `perf_counter`.
    """

    id: str
    headers: dict[bytes, bytes]
    started_at: float
    route: str = "other"
    protocol: str = "http"
    model: str = ""
    key_name: str = ""
    status: int = 0
    timings: Timings | None = None


def get_state(scope: Scope) -> State:
    """Return the state that the lifespan created."""
    state: State = scope["state"]["service"]
    return state


def create_context(scope: Scope) -> RequestContext:
    """Create the context of a request and store it in the scope.

    The request id is the client's `X-Request-ID` if it is valid, else the trace id of `traceparent`, else random.
    """
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        headers = merge_headers(scope["headers"])
    chosen = request_id(headers.get(b"x-request-id"), headers.get(b"traceparent"))
    context = scope["context"] = RequestContext(chosen, headers, perf_counter())
    return context


def merge_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; join the values of a repeated header by commas (RFC 9110, section 5.3)."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        headers[name] = b", ".join((headers[name], value)) if name in headers else value
    return headers


def record_request(context: RequestContext, state: State, scope: Scope) -> None:
    """Count the request. Log it if the access log is on or the response is a server error."""
    seconds = perf_counter() - context.started_at
    state.metrics.count_request(context.route, context.model, context.status, seconds, context.protocol)
    if context.timings:
        state.metrics.observe_timings(context.timings)
    if state.settings.access_log or context.status >= 500:
        log.info(
            "request",
            id=context.id,
            method=scope["method"],
            path=context.route,
            model=context.model,
            key=context.key_name,
            status=context.status,
            ms=round(seconds * 1000, 2),
        )


async def send_response(context: RequestContext, send: Send, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole response with the status of the context, adding `X-Request-ID` and `Content-Length`."""
    headers.append((b"x-request-id", context.id.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": context.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

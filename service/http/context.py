"""The context of a request: its id, headers, metrics and log line, and the functions that every response shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
from starlette.types import Scope, Send

from service.engine.pipeline import Job
from service.http.headers import TRACE_RESPONSE
from service.state import State
from service.telemetry import request_ids
from service.telemetry.stages import Stages
from service.telemetry.timings import Timings

if TYPE_CHECKING:
    from service.telemetry.tracing import RequestSpan

UNTRACED_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
NAMED_PATHS = frozenset({*UNTRACED_PATHS, "/", "/docs", "/models", "/openapi.json"})
"""Paths outside the operations that the log names. Metrics count them as `other`."""

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
    rejection: str = ""  # type of the problem that is the response
    span: "RequestSpan | None" = None
    stages: Stages | None = None

    def record_job(self, job: Job) -> None:
        """Keep the timings of a job that was answered, and its stages if the request is traced."""
        self.timings = job.timings
        if self.span:
            self.stages = job.stages()


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
    chosen = request_ids.request_id(headers.get(b"x-request-id"), headers.get(b"traceparent"))
    context = scope["context"] = RequestContext(chosen, headers, perf_counter())
    return context


def merge_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; join the values of a repeated header by commas (RFC 9110, section 5.3)."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        headers[name] = b", ".join((headers[name], value)) if name in headers else value
    return headers


def trace_ids(context: RequestContext) -> dict[str, str]:
    """Return the trace id and the span id for log lines, or the client's trace id if the request is not traced."""
    return request_ids.trace_ids(context.span, context.headers.get(b"traceparent"))


def start_span(context: RequestContext, state: State, scope: Scope) -> None:
    """Start the span of a request if tracing is on. Probes and scrapes are not traced."""
    tracer = state.tracer
    if tracer is None or scope["path"] in UNTRACED_PATHS or tracer.drops(context.headers):
        return
    attributes = {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
    }
    context.span = tracer.start(context.headers, context.started_at, scope["method"], attributes)


def end_span(span: "RequestSpan", context: RequestContext, scope: Scope) -> None:
    """End the span of a request, named by its route. A status of 499 means that the client has left."""
    attributes = {"http.route": context.route, "http.response.status_code": context.status, "hourglass.id": context.id}
    if context.model:
        attributes["hourglass.model.name"] = context.model
    span.end(f"{scope['method']} {context.route}", attributes, context.status, context.stages)


def record_request(context: RequestContext, state: State, scope: Scope) -> None:
    """Count the request. Log it if the access log is on or the response is a server error."""
    seconds = perf_counter() - context.started_at
    state.metrics.count_request(context.route, context.model, context.status, seconds, context.protocol)
    if context.rejection:
        state.metrics.count_rejection(context.rejection)
    if context.span:
        end_span(context.span, context, scope)
    if state.settings.access_log or context.status >= 500:
        log.info(
            "request",
            id=context.id,
            method=scope["method"],
            path=_log_path(context, scope),
            model=context.model,
            key=context.key_name,
            status=context.status,
            ms=round(seconds * 1000, 2),
            **trace_ids(context),
        )


def _log_path(context: RequestContext, scope: Scope) -> str:
    """Return the route, or the path itself if it is one of `NAMED_PATHS`. Other paths are texts of clients."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path if context.route == "other" and path in NAMED_PATHS else context.route


def identity_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the header `X-Request-ID`, and `traceresponse` if the request is traced."""
    headers = [(b"x-request-id", context.id.encode())]
    if context.span:
        headers.append((TRACE_RESPONSE.encode(), context.span.header().encode()))
    return headers


async def send_response(context: RequestContext, send: Send, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole response with the status of the context, adding `X-Request-ID` and `Content-Length`."""
    headers += identity_headers(context)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": context.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

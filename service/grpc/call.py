"""What every gRPC call shares: its id, authorization, metrics, log line and status."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import grpc
import structlog

from service.engine.pipeline import Job
from service.errors import InternalError, Problem
from service.grpc import open_inference_pb2 as pb
from service.state import State
from service.telemetry import request_ids
from service.telemetry.stages import Stages
from service.telemetry.timings import Timings

if TYPE_CHECKING:
    from service.telemetry.tracing import RequestSpan

T = TypeVar("T")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""The gRPC status of each HTTP status of a problem; the others are INVALID_ARGUMENT."""

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

log = structlog.get_logger()


@dataclass(slots=True)
class GrpcCall:
    """A call and its outcome so far. `status` is the HTTP status of its outcome; 499 if the client cancels it."""

    state: State
    method: str
    context: Context
    seconds: float | None
    _id: str = ""
    model: str = ""
    key_name: str = ""
    status: int = 499
    timings: Timings | None = None
    rejection: str = ""  # type of the problem that is the response
    started_at: float = field(default_factory=perf_counter)
    span: "RequestSpan | None" = None
    stages: Stages | None = None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The metadata of the call. Most calls need none of them."""
        return {
            name.encode(): value if isinstance(value, bytes) else value.encode("latin-1", "replace")
            for name, value in self.context.invocation_metadata() or ()
        }

    @property
    def id(self) -> str:
        """The id of the request, made when it is needed first."""
        if not self._id:
            headers = self.headers
            self._id = request_ids.request_id(headers.get(b"x-request-id"), headers.get(b"traceparent"))
        return self._id

    def authorize(self, path: str) -> None:
        """Check the API key for a path of the HTTP API. Raises Unauthorized, Forbidden or RateLimited."""
        if self.state.api_keys:
            self.key_name = self.state.api_keys.authorize(path, self.headers)

    def record_job(self, job: Job) -> None:
        """Keep the timings of a job that was answered, and its stages if the request is traced."""
        self.timings = job.timings
        if self.span:
            self.stages = job.stages()

    def trace_ids(self) -> dict[str, str]:
        """Return the trace id and the span id for log lines, or the client's trace id if the call is not traced."""
        return request_ids.trace_ids(self.span, self.headers.get(b"traceparent"))

    def record(self) -> None:
        """Count the call. Log it if the access log is on or it failed in the service."""
        seconds = perf_counter() - self.started_at
        metrics = self.state.metrics
        metrics.count_request(self.method, self.model, self.status, seconds, "grpc")
        if self.rejection:
            metrics.count_rejection(self.rejection)
        if self.span:
            self._end_span(self.span)
        if self.state.settings.access_log or self.status >= 500:
            log.info(
                "request",
                id=self.id,
                method="grpc",
                path=self.method,
                model=self.model,
                key=self.key_name,
                status=self.status,
                ms=round(seconds * 1000, 2),
                **self.trace_ids(),
            )

    def _end_span(self, span: "RequestSpan") -> None:
        code = grpc.StatusCode.OK if self.status == 200 else CODES.get(self.status, grpc.StatusCode.INVALID_ARGUMENT)
        attributes: dict[str, str | int] = {"rpc.response.status_code": code.name, "hourglass.id": self.id}
        if self.model:
            attributes["hourglass.model.name"] = self.model
        span.end(f"{SERVICE}/{self.method}", attributes, self.status, self.stages)


def create_call(state: State, method: str, context: Context) -> GrpcCall:
    """Return the call of a context. `seconds` are those until the deadline of the client, None without one."""
    remaining = cast("float | None", context.time_remaining())  # the stub omits None
    call = GrpcCall(state, method, context, None if remaining is None else max(remaining, 1e-3))
    if state.tracer and not state.tracer.drops(headers := call.headers):
        attributes = {"rpc.system.name": "grpc", "rpc.method": f"{SERVICE}/{method}"}
        call.span = state.tracer.start(headers, call.started_at, f"{SERVICE}/{method}", attributes)
    return call


async def answer(call: GrpcCall, context: Context, work: Callable[[], Awaitable[T]]) -> T:
    """Run the work of a call. A problem becomes the status of the call."""
    trace_metadata = [("traceresponse", call.span.header())] if call.span else []
    if trace_metadata:
        context.set_trailing_metadata(tuple(trace_metadata))
    try:
        response = await work()
        call.status = 200
    except Exception as error:
        problem = to_problem(call, error)
        call.status, call.rejection = problem.status, problem.type
    else:
        return response
    finally:
        call.record()
    metadata = [("x-request-id", call.id), *problem.headers.items(), *trace_metadata]
    await context.abort(CODES.get(problem.status, grpc.StatusCode.INVALID_ARGUMENT), problem.detail, tuple(metadata))
    raise AssertionError("abort raises")


def to_problem(call: GrpcCall, error: Exception) -> Problem:
    """Return an error as a problem, and log it if it is internal."""
    if isinstance(error, Problem):
        return error.without_traceback()
    log.error("request_failed", id=call.id, path=call.method, exc_info=error, **call.trace_ids())
    return InternalError(f"internal error; quote the id {call.id} when reporting this")

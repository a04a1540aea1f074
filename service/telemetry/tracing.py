"""Traces of requests by OpenTelemetry, exported by OTLP. Needs the extra `otel`; imported only if tracing is on.

A request has one server span. The spans of its stages are created when it has ended, from the timings that are
measured anyway, so that the path of a request contains no further code.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from threading import Thread
from time import perf_counter, time_ns

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.telemetry.sampling import ChosenIds, Sampling
from service.telemetry.stages import Stages

SHUTDOWN_SECONDS = 5.0
"""Longest time that a shutdown waits for the last spans. A collector that is gone does not hold up the process."""

AttributeValue = str | int


@dataclass(slots=True)
class RequestSpan:
    """The server span of a traced request, and its start: on the clock of `perf_counter`, and in ns since 1970."""

    tracer: trace.Tracer
    span: Span
    started_at: float
    start_ns: int

    def header(self) -> str:
        """Return the context of the span as W3C writes it: the value of `traceresponse`."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def log_fields(self) -> dict[str, str]:
        """Return the ids for log lines."""
        context = self.span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def end(self, name: str, attributes: Mapping[str, AttributeValue], status: int, stages: Stages | None) -> None:
        """End the span, with the spans of its stages if the request was answered. `status` is that of HTTP."""
        span = self.span
        span.update_name(name)
        span.set_attributes(attributes)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        if stages:
            self._add_stages(stages)
        span.end(self._time(perf_counter()))

    def _add_stages(self, stages: Stages) -> None:
        parent = trace.set_span_in_context(self.span, Context())
        timings = stages.timings
        queued_until = stages.decoded_at + timings.queue
        graph = stages.graph
        attributes: dict[str, AttributeValue] = {
            "hourglass.model.name": graph.model,
            "hourglass.model.version": graph.version,
            "hourglass.operation": graph.operation,
            "hourglass.model.precision": stages.precision,
            "hourglass.batch.size": stages.batch_size,
            "hourglass.request.items": stages.items,
        }
        for name, start, seconds in (
            ("decode", stages.started_at, timings.decode),
            ("queue", stages.decoded_at, timings.queue),
            ("run", queued_until, timings.run),
            ("encode", stages.inferred_at, timings.encode),
        ):
            child = self.tracer.start_span(
                name, parent, attributes=attributes if name == "run" else None, start_time=self._time(start)
            )
            child.end(self._time(start + seconds))

    def _time(self, at: float) -> int:
        """Return a time of `perf_counter` in nanoseconds since 1970."""
        return self.start_ns + round((at - self.started_at) * 1e9)


class RequestTracer:
    """Creates the spans of requests, and exports those that the sampler of `OTEL_TRACES_SAMPLER` chooses."""

    def __init__(self, exporter: SpanExporter) -> None:
        ids = ChosenIds()
        self.drops = Sampling(os.environ, ids).drops
        """Returns whether a request is not traced, by its headers; if False, `start` decides."""
        self._provider = TracerProvider(resource=_resource(), id_generator=ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hourglass", version("hourglass"))
        self._propagator = TraceContextTextMapPropagator()

    def start(
        self, headers: Mapping[bytes, bytes], started_at: float, name: str, attributes: Mapping[str, AttributeValue]
    ) -> RequestSpan | None:
        """Start the span of a request that `drops` has not dropped, or return None if it is not traced.

        The span is a child of the client's span if the headers have a valid `traceparent`.
        """
        parent = Context()
        if b"traceparent" in headers:
            carrier = {
                key: headers[key.encode()].decode("latin-1")
                for key in ("traceparent", "tracestate")
                if key.encode() in headers
            }
            parent = self._propagator.extract(carrier, parent)
        now = perf_counter()
        start_ns = time_ns() - round((now - started_at) * 1e9)
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes, start_time=start_ns)
        return RequestSpan(self._tracer, span, started_at, start_ns) if span.is_recording() else None

    def close(self) -> None:
        """Export the last spans, for at most `SHUTDOWN_SECONDS`."""
        thread = Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(SHUTDOWN_SECONDS)


def create_exporter(environ: Mapping[str, str]) -> SpanExporter:
    """Return the exporter of OTLP over the protocol of `OTEL_EXPORTER_OTLP_PROTOCOL`, http/protobuf by default.

    It reads its address, headers, certificate and timeout from the other variables `OTEL_EXPORTER_OTLP_*`. Raises
    ValueError if the protocol is unknown.
    """
    name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    protocol = environ.get(name) or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter()
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf or grpc, not {protocol[:50]}")


def _resource() -> Resource:
    """Return what the spans say about the process. Variables `OTEL_*` may name the service otherwise."""
    attributes = {"service.version": version("hourglass")}
    has_name = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not has_name:
        attributes["service.name"] = "hourglass"
    return Resource.create(attributes)

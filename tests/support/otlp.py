"""Receivers of OTLP over HTTP and gRPC, from the official messages, that keep all spans in memory."""

import gzip
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Received:
    """What a receiver at `endpoint` has received."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list[Span])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, request: service_pb.ExportTraceServiceRequest) -> None:
        """Keep the spans of an export."""
        for group in request.resource_spans:
            self.resources.append(attributes_of(group.resource))
            for scope in group.scope_spans:
                self.spans.extend(scope.spans)

    def named(self, name: str) -> Span:
        """Return the only span of a name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def children(self, parent: Span) -> dict[str, Span]:
        """Return the children of a span by name."""
        return {span.name: span for span in self.spans if span.parent_span_id == parent.span_id}


def attributes_of(message: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in message.attributes}


@contextmanager
def http_receiver() -> Generator[Received]:
    """Receive OTLP over HTTP (protobuf) at a free port."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                data = gzip.decompress(data)
            if self.path == "/v1/traces":
                received.add(service_pb.ExportTraceServiceRequest.FromString(data))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    received.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def grpc_receiver() -> Generator[Received]:
    """Receive OTLP over gRPC at a free port."""
    received = Received()

    class Servicer(service_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> service_pb.ExportTraceServiceResponse:  # noqa: ARG002, N802
            received.add(request)
            return service_pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    service_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield received
    server.stop(0).wait()

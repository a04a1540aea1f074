"""The gRPC server beside the HTTP server of a process: port, TLS, limits, health, reflection and graceful stop."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.config import Settings
from service.grpc.call import Context
from service.grpc.servicer import SERVICE, InferenceService
from service.state import State

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
WATCH_SECONDS = 1.0  # between two looks at the state, for clients that watch the health
MIN_PING_SECONDS = 10  # between two keep-alive pings of a client, without a call in progress
ANY_IPV6 = "[::]"

log = structlog.get_logger()


class GrpcServer:
    """A gRPC server on one state. Port 0 chooses a free port."""

    def __init__(self, state: State, port: int) -> None:
        settings = state.settings
        self._server = grpc.aio.server(
            options=server_options(settings), maximum_concurrent_rpcs=settings.per_worker().max_inflight_items
        )
        self._server.add_generic_rpc_handlers((InferenceService(state).handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(HealthService(state), self._server)
        reflection.enable_server_reflection((SERVICE, HEALTH, reflection.SERVICE_NAME), self._server)
        address = f"{listen_host(settings.host)}:{port}"
        if settings.tls_cert_file:
            credentials = tls_credentials(settings.tls_cert_file, settings.tls_key_file)
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Start to serve."""
        await self._server.start()
        log.info("grpc_started", port=self.port)

    async def stop(self, grace: float) -> None:
        """Reject new calls, and wait up to `grace` seconds for those in progress."""
        await self._server.stop(grace)


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of a server: limits of messages and pings, and how workers share the port."""
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.keepalive_time_ms", round(settings.keep_alive_timeout * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_SECONDS * 1000),
    ]


def listen_host(host: str) -> str:
    """Return a host as gRPC writes it in addresses."""
    host = host.strip().removeprefix("[").removesuffix("]")
    if host in ("", "*"):
        return ANY_IPV6
    return f"[{host}]" if ":" in host else host


def tls_credentials(cert_file: Path, key_file: Path | None) -> grpc.ServerCredentials:
    """Return the credentials of a certificate; the key may be in its file."""
    return grpc.ssl_server_credentials([((key_file or cert_file).read_bytes(), cert_file.read_bytes())])


class HealthService(health_pb2_grpc.HealthServicer):
    """The standard health service. It reports the readiness of the service, and of no single model."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:  # noqa: N802
        """Return the status of a service; an empty name is the whole server."""
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return self._status(request.service)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse]:
        """Yield the status of a service, and then each change."""
        last = None
        while not context.done():
            status = self._status(request.service)
            if status != last:
                last = status
                yield status
            await asyncio.sleep(WATCH_SECONDS)

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        statuses = health_pb2.HealthCheckResponse
        if service not in ("", SERVICE):
            return statuses(status=statuses.SERVICE_UNKNOWN)
        return statuses(status=statuses.SERVING if self._state.is_ready else statuses.NOT_SERVING)

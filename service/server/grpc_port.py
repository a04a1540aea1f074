"""The gRPC server of a process, if a port is set. The library is imported only then."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from service.config import Settings
from service.extras import install_extra
from service.server.addresses import bind_sockets, closing_all
from service.state import State

if TYPE_CHECKING:
    from service.grpc.server import GrpcServer


def check_grpc_port(settings: Settings) -> None:
    """Check that the extra is installed and the port is free. Raises ValueError."""
    if not settings.grpc_port:
        return
    missing = [name for name in ("grpc", "grpc_health", "grpc_reflection") if not find_spec(name)]
    if missing:
        raise ValueError(f"to use HOURGLASS_GRPC_PORT, {install_extra('grpc')}")
    if settings.grpc_port == settings.port:
        raise ValueError(f"the port of gRPC must not be that of HTTP, {settings.port}; choose another by --grpc-port")
    try:
        with closing_all(bind_sockets(settings.host, settings.grpc_port)):
            pass
    except ValueError as error:
        raise ValueError(str(error).replace("--port", "--grpc-port")) from error


async def start_grpc(lifespan: Mapping[str, Any]) -> "GrpcServer | None":
    """Start the gRPC server on the state of the lifespan, if a port is set.

    Several workers listen on the same port, and the kernel assigns each connection to one of them.
    """
    state: State = lifespan["service"]
    if not state.settings.grpc_port:
        return None
    state.starting = True
    from service.grpc.server import GrpcServer

    server = GrpcServer(state, state.settings.grpc_port)
    await server.start()
    state.starting = False
    return server

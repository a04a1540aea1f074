"""A uvicorn server with graceful shutdown: requests already sent are answered before connections close.

Handles the connections and signals of one process.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from math import ceil
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from service.server.addresses import log_addresses
from service.server.grpc_port import start_grpc

if TYPE_CHECKING:
    from service.grpc.server import GrpcServer

CONNECTION_CLOSE = (b"connection", b"close")
OnShutdown = Callable[[Mapping[str, Any]], None]
ExtraDrain = Callable[[Mapping[str, Any]], float]
TICK = 0.1  # seconds between checks, as in uvicorn
MAX_IDLE_TICKS = 10  # limit of the time in which the requests of the latest connections are read


class GracefulServer(uvicorn.Server):
    """A server that still accepts connections for `shutdown_delay` seconds after a signal.

    During that time, responses have `Connection: close`. `on_shutdown` is called immediately with the state of the
    lifespan. `extra_drain` is called after the delay with the same state, and returns the seconds that the running
    requests get in addition to the configured drain timeout.
    """

    def __init__(
        self, config: uvicorn.Config, shutdown_delay: float, on_shutdown: OnShutdown, extra_drain: ExtraDrain
    ) -> None:
        super().__init__(config)
        self.shutdown_delay = shutdown_delay
        self.on_shutdown = on_shutdown
        self.extra_drain = extra_drain
        self.grpc: GrpcServer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, log the addresses, which uvicorn does only for sockets of its own, and start gRPC if it has a port."""
        await super().startup(sockets)
        if self.started:
            self.grpc = await start_grpc(self.lifespan.state)
        if self.started and sockets:
            log_addresses(sockets, "https" if self.config.is_ssl else "http")

    async def main_loop(self) -> None:
        """Serve until a signal, then until no request can arrive any more. `uvicorn.Server.shutdown` follows."""
        await super().main_loop()
        self.on_shutdown(self.lifespan.state)
        self.config.encoded_headers.append(CONNECTION_CLOSE)  # uvicorn copies this list once per second
        self.server_state.default_headers.append(CONNECTION_CLOSE)
        await self.accept_late_connections()
        await self._wait_until_idle()
        grace = (self.config.timeout_graceful_shutdown or 0) + ceil(self.extra_drain(self.lifespan.state))
        self.config.timeout_graceful_shutdown = max(1, grace - await self._drain_grpc(grace))

    async def _drain_grpc(self, grace: int) -> int:
        """Reject new gRPC calls, wait up to `grace` seconds for those in progress, and return the seconds waited."""
        started_at = monotonic()
        if self.grpc and not self.force_exit:
            await self.grpc.stop(grace)
        return round(monotonic() - started_at)

    async def accept_late_connections(self) -> None:
        """Accept connections until the delay ends, because load balancers notice the shutdown late."""
        for _ in range(round(self.shutdown_delay / TICK)):
            if self.force_exit:
                return
            await asyncio.sleep(TICK)
        for server in self.servers:
            server.close()

    async def _wait_until_idle(self) -> None:
        """Wait until no request begins or ends for two ticks. uvicorn would close connections with unread requests."""
        history = [(-1, -1, -1)]
        for _ in range(MAX_IDLE_TICKS):
            state = self.server_state
            history.append((state.total_requests, len(state.tasks), len(state.connections)))
            if self.force_exit or history[-3:] == [history[-1]] * 3:
                return
            await asyncio.sleep(TICK)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown. A second signal of the same kind ends the process immediately."""
        super().handle_exit(sig, frame)
        signal.signal(sig, signal.SIG_DFL)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle signals as uvicorn does, but end with status 0 after a graceful shutdown.

        uvicorn raises the signal again, so that the signal would be the status of the process.
        """
        with super().capture_signals():
            yield
            if not self.force_exit:
                self._captured_signals.clear()

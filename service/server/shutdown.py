"""uvicorn's server with an end of its own: what has been sent is answered before anything is closed.

Knows connections and the moment of the signal; no route, no model, and nothing of other processes.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from math import ceil
from types import FrameType
from typing import Any

import uvicorn

from service.server.addresses import log_addresses

CONNECTION_CLOSE = (b"connection", b"close")
OnShutdown = Callable[[Mapping[str, Any]], None]
ExtraDrain = Callable[[Mapping[str, Any]], float]
TICK = 0.1  # seconds; uvicorn too looks this often
MAX_IDLE_TICKS = 10  # ticks that the last connections have, at most, to have their requests read


class GracefulServer(uvicorn.Server):
    """After a signal it takes connections for `linger` seconds more and answers with `Connection: close`.

    `leave` is told the lifespan's state at once. `more`, of the same: seconds over the configured ones that the
    requests under way may take to end.
    """

    def __init__(
        self, config: uvicorn.Config, shutdown_delay: float, on_shutdown: OnShutdown, extra_drain: ExtraDrain
    ) -> None:
        super().__init__(config)
        self.shutdown_delay, self.on_shutdown, self.extra_drain = shutdown_delay, on_shutdown, extra_drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the addresses, which uvicorn does only for sockets of its own."""
        await super().startup(sockets)
        if self.started and sockets:
            log_addresses(sockets, "https" if self.config.is_ssl else "http")

    async def main_loop(self) -> None:
        """Serve until a signal, then until nothing more can come; uvicorn's shutdown follows."""
        await super().main_loop()
        self.on_shutdown(self.lifespan.state)
        self.config.encoded_headers.append(CONNECTION_CLOSE)  # goes into the list that uvicorn makes anew every second
        self.server_state.default_headers.append(CONNECTION_CLOSE)
        await self.accept_late_connections()
        await self._wait_until_idle()
        grace = self.config.timeout_graceful_shutdown or 0
        self.config.timeout_graceful_shutdown = grace + ceil(self.extra_drain(self.lifespan.state))

    async def accept_late_connections(self) -> None:
        """Take connections a little longer: who sent them could not know of the signal."""
        for _ in range(round(self.shutdown_delay / TICK)):
            if self.force_exit:
                return
            await asyncio.sleep(TICK)
        for server in self.servers:
            server.close()

    async def _wait_until_idle(self) -> None:
        """Until nothing has begun or ended for two ticks: uvicorn closes whoever's request it has not read."""
        seen = [(-1, -1, -1)]
        for _ in range(MAX_IDLE_TICKS):
            state = self.server_state
            seen.append((state.total_requests, len(state.tasks), len(state.connections)))
            if self.force_exit or seen[-3:] == [seen[-1]] * 3:
                return
            await asyncio.sleep(TICK)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn does; a second signal of its kind ends the process at once, whatever that is busy with."""
        super().handle_exit(sig, frame)
        signal.signal(sig, signal.SIG_DFL)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """As uvicorn does, but a clean end is status 0 and no death by the signal, raised again."""
        with super().capture_signals():
            yield
            if not self.force_exit:
                self._captured_signals.clear()

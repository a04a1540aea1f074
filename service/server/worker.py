"""A worker process: serves the connections that the supervisor sends, and reports when one has closed.

It does not listen on a port: its connections come through a channel to the supervisor.
"""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from service.server.protocol import TimeoutProtocol
from service.server.shutdown import TICK, ExtraDrain, GracefulServer, OnShutdown

# Messages of a worker to the supervisor, one byte each. The supervisor sends one byte of any value with each
# connection, and closes its side of the channel after the last.
READY = b"r"
ACCEPTED = b"a"
CLOSED = b"c"
DRAINING = b"l"
MAX_ACCEPTS_PER_EVENT = 32  # connections accepted before other events of the loop are handled
RETRY_SECONDS = 0.01  # delay of the next write while the channel is full


class WorkerProtocol(TimeoutProtocol):
    """The protocol of connections in a worker. It calls `on_close` when the connection has closed."""

    on_close: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection and report that it has closed."""
        super().connection_lost(exc)
        self.on_close()


class WorkerServer(GracefulServer):
    """A server that receives connections through a channel instead of a port, until the channel ends."""

    def __init__(
        self, config: uvicorn.Config, channel: socket.socket, on_shutdown: OnShutdown, extra_drain: ExtraDrain
    ) -> None:
        super().__init__(config, 0, on_shutdown, extra_drain)
        channel.setblocking(False)
        self._channel = channel
        self._outbox = b""
        self._channel_closed = False
        self._accept_tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start without a port, then report that the worker is ready."""
        await super().startup(sockets or [])
        asyncio.get_running_loop().add_reader(self._channel, self._receive_connections)
        self._notify(READY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of uvicorn
        """Begin the shutdown. A second signal changes nothing.

        A signal to the process group arrives twice: from its sender and from the supervisor.
        """
        self.should_exit = True

    async def accept_late_connections(self) -> None:
        """Accept connections until the supervisor closes the channel. Only the supervisor knows which is the last."""
        self._notify(DRAINING)
        while not self._channel_closed:  # noqa: ASYNC110 - uvicorn checks for signals at the same interval
            await asyncio.sleep(TICK)

    def _receive_connections(self) -> None:
        for _ in range(MAX_ACCEPTS_PER_EVENT):
            try:
                message, files, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                break
            except ConnectionError:
                message = b""
                files = []
            if not message:
                asyncio.get_running_loop().remove_reader(self._channel)
                self._channel_closed = self.should_exit = True
                break
            self._outbox += ACCEPTED
            if files:
                task = asyncio.create_task(self._serve_connection(socket.socket(fileno=files[0])))
                self._accept_tasks.add(task)
                task.add_done_callback(self._accept_tasks.discard)
            else:
                self._notify(CLOSED)  # the kernel dropped the file, because this process has too many open files
        # Report before any connection is read: the supervisor gives connections that are not reported to another
        # worker when this one dies.
        self._flush()

    async def _serve_connection(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._create_protocol, connection, ssl=self.config.ssl
            )
        except OSError:
            connection.close()
            self._notify(CLOSED)

    def _create_protocol(self) -> WorkerProtocol:
        state: dict[str, Any] = self.lifespan.state
        protocol = WorkerProtocol(self.config, self.server_state, state)
        protocol.on_close = lambda: self._notify(CLOSED)
        return protocol

    def _notify(self, message: bytes) -> None:
        self._outbox += message
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if not self._outbox:
            return
        try:
            self._outbox = self._outbox[self._channel.send(self._outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self._outbox = b""  # the supervisor has ended
        if self._outbox:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._flush)

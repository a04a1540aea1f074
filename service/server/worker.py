"""A worker: serves the connections that its supervisor hands over, and says when one has closed.

Knows uvicorn's protocol and the channel to the supervisor; listens nowhere, and knows no other worker.
"""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from service.server.protocol import TimeoutProtocol
from service.server.shutdown import TICK, ExtraDrain, GracefulServer, OnShutdown

# What a worker says, a byte each. What it is told: any byte with a connection; and the end, after which none comes.
READY, ACCEPTED, CLOSED, DRAINING = b"r", b"a", b"c", b"l"
MAX_ACCEPTS_PER_EVENT = 32  # connections taken before others get their turn
RETRY_SECONDS = 0.01  # seconds until the channel may have room again


class WorkerProtocol(TimeoutProtocol):
    """The protocol, which tells when its connection is gone."""

    on_close: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.on_close()


class WorkerServer(GracefulServer):
    """Listens to no port but to a channel on which connections arrive; its end is the end of serving."""

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
        """Start without a port, then say so."""
        await super().startup(sockets or [])
        asyncio.get_running_loop().add_reader(self._channel, self._receive_connections)
        self._notify(READY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn has it
        """Leave. Told twice is not hurried: the same signal may come to the whole group and by the supervisor."""
        self.should_exit = True

    async def accept_late_connections(self) -> None:
        """All that the supervisor accepted is served: only it knows which is the last."""
        self._notify(DRAINING)
        while not self._channel_closed:  # noqa: ASYNC110 - looked at as often as uvicorn looks for the signal
            await asyncio.sleep(TICK)

    def _receive_connections(self) -> None:
        for _ in range(MAX_ACCEPTS_PER_EVENT):
            try:
                word, files, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                break
            except ConnectionError:
                word, files = b"", []
            if not word:
                asyncio.get_running_loop().remove_reader(self._channel)
                self._channel_closed = self.should_exit = True
                break
            self._outbox += ACCEPTED
            if files:
                task = asyncio.create_task(self._serve_connection(socket.socket(fileno=files[0])))
                self._accept_tasks.add(task)
                task.add_done_callback(self._accept_tasks.discard)
            else:
                self._notify(CLOSED)  # the kernel dropped it: no more files may be open here
        self._flush()  # at once, before any of them is read: what is not said to be adopted goes to another

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

    def _notify(self, word: bytes) -> None:
        self._outbox += word
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if not self._outbox:
            return
        try:
            self._outbox = self._outbox[self._channel.send(self._outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self._outbox = b""  # no supervisor, nobody to tell
        if self._outbox:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._flush)

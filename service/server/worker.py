"""A worker: serves the connections that its supervisor hands over, and says when one has closed.

Knows uvicorn's protocol and the channel to the supervisor; listens nowhere, and knows no other worker.
"""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from service.server.protocol import PatientProtocol
from service.server.shutdown import TICK, Leave, LingeringServer, More

# What a worker says, a byte each. What it is told: any byte with a connection; and the end, after which none comes.
READY, ADOPTED, CLOSED, LEAVING = b"r", b"a", b"c", b"l"
TURN = 32  # connections taken before others get their turn
RETRY = 0.01  # seconds until the channel may have room again


class AdoptedProtocol(PatientProtocol):
    """The protocol, which tells when its connection is gone."""

    gone: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone()


class AdoptingServer(LingeringServer):
    """Listens to no port but to a channel on which connections arrive; its end is the end of serving."""

    def __init__(self, config: uvicorn.Config, channel: socket.socket, leave: Leave, more: More) -> None:
        super().__init__(config, 0, leave, more)
        channel.setblocking(False)
        self._channel = channel
        self._unsaid = b""
        self._ended = False
        self._adopting: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start without a port, then say so."""
        await super().startup(sockets or [])
        asyncio.get_running_loop().add_reader(self._channel, self._adopt)
        self._say(READY)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn has it
        """Leave. Told twice is not hurried: the same signal may come to the whole group and by the supervisor."""
        self.should_exit = True

    async def last_connections(self) -> None:
        """All that the supervisor accepted is served: only it knows which is the last."""
        self._say(LEAVING)
        while not self._ended:  # noqa: ASYNC110 - looked at as often as uvicorn looks for the signal
            await asyncio.sleep(TICK)

    def _adopt(self) -> None:
        for _ in range(TURN):
            try:
                word, files, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                break
            except ConnectionError:
                word, files = b"", []
            if not word:
                asyncio.get_running_loop().remove_reader(self._channel)
                self._ended = self.should_exit = True
                break
            self._unsaid += ADOPTED
            if files:
                task = asyncio.create_task(self._serve_connection(socket.socket(fileno=files[0])))
                self._adopting.add(task)
                task.add_done_callback(self._adopting.discard)
            else:
                self._say(CLOSED)  # the kernel dropped it: no more files may be open here
        self._send()  # at once, before any of them is read: what is not said to be adopted goes to another

    async def _serve_connection(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        except OSError:
            connection.close()
            self._say(CLOSED)

    def _protocol(self) -> AdoptedProtocol:
        state: dict[str, Any] = self.lifespan.state
        protocol = AdoptedProtocol(self.config, self.server_state, state)
        protocol.gone = lambda: self._say(CLOSED)
        return protocol

    def _say(self, word: bytes) -> None:
        self._unsaid += word
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        if not self._unsaid:
            return
        try:
            self._unsaid = self._unsaid[self._channel.send(self._unsaid) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsaid = b""  # no supervisor, nobody to tell
        if self._unsaid:
            asyncio.get_running_loop().call_later(RETRY, self._send)

"""The port: accepts connections and hands each to the worker that holds the fewest.

Knows sockets and how many connections each worker holds; no process, no signal, no byte of a request.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from service.server.idle import max_connections

BACKLOG = 2048  # connections that the kernel keeps until they are accepted
MAX_ACCEPTS_PER_EVENT = 32  # connections accepted before workers are heard again
PAUSE_SECONDS = 0.05  # seconds without accepting where no file can be opened or no channel has room

log = structlog.get_logger()


@dataclass(eq=False)
class WorkerSlot:
    """What the port knows of a worker: the channel that connections go through, and how many it holds."""

    channel: socket.socket
    ready: bool = False
    draining: bool = False
    open_connections: int = 0
    last_assigned: int = 0  # of its latest connection, so that those who hold as many take turns
    in_transit: deque[socket.socket] = field(
        default_factory=deque[socket.socket]
    )  # not adopted yet, so nobody has read them

    def acknowledge(self, count: int) -> None:
        """The worker has as many more of those that were sent."""
        for _ in range(min(count, len(self.in_transit))):
            self.in_transit.popleft().close()


class Acceptor:
    """Listens while a desk can take a connection; otherwise connections wait in the backlog."""

    def __init__(self, listeners: Sequence[socket.socket], slots: dict[int, WorkerSlot]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._slots = slots
        self._max_connections = max_connections()
        self._waiting: deque[socket.socket] = deque()  # accepted, but with no worker
        self._accepting = self._paused = False
        self._assigned = 0
        for listener in listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)

    def update_listening(self) -> None:
        """Begin or cease to accept, as there are desks that can take a connection."""
        wanted = not self._paused and any(self._can_accept(desk) for desk in self._slots.values())
        if wanted and not self._accepting:
            for listener in self._listeners:
                self._loop.add_reader(listener, self.accept, MAX_ACCEPTS_PER_EVENT)
        elif self._accepting and not wanted:
            for listener in self._listeners:
                self._loop.remove_reader(listener)
        self._accepting = wanted
        if wanted and self._waiting:
            self._loop.call_soon(self.accept, len(self._waiting))

    def reclaim(self, desk: WorkerSlot) -> None:
        """The desk is gone: what it has not adopted goes to others."""
        self._waiting.extend(desk.in_transit)
        desk.open_connections -= len(desk.in_transit)
        desk.in_transit.clear()
        self.update_listening()

    async def close(self, tries: int) -> None:
        """Hand over whoever has connected, then close the port."""
        while tries and not self.accept(BACKLOG):
            tries -= 1
            await asyncio.sleep(PAUSE_SECONDS)
        self._paused = True
        self.update_listening()
        for listener in self._listeners:
            listener.close()

    def accept(self, most: int) -> bool:
        """Hand over so many at most; whether nobody is left in the backlog."""
        for _ in range(most):
            desks = sorted(filter(self._can_accept, self._slots.values()), key=_load_key)
            if not desks:
                break
            try:
                connection = self._waiting.popleft() if self._waiting else self._accept_next()
            except BlockingIOError:
                return True
            except ConnectionError:
                continue  # it went before it was accepted
            except OSError as error:
                log.warning("accept_failed", reason=str(error))
                self._pause()
                return False
            if not any(self._assign(connection, desk) for desk in desks):
                self._waiting.appendleft(connection)
                self._pause()
                return False
        self.update_listening()
        return False

    def _accept_next(self) -> socket.socket:
        """Accept a connection of any listening socket. Raises BlockingIOError if there is none."""
        for listener in self._listeners:
            with suppress(BlockingIOError):
                return listener.accept()[0]
        raise BlockingIOError

    def _can_accept(self, desk: WorkerSlot) -> bool:
        return desk.ready and desk.open_connections < self._max_connections

    def _assign(self, connection: socket.socket, desk: WorkerSlot) -> bool:
        try:
            socket.send_fds(desk.channel, [b"+"], [connection.fileno()])
        except OSError:
            return False
        self._assigned += 1
        desk.last_assigned, desk.open_connections = self._assigned, desk.open_connections + 1
        desk.in_transit.append(connection)
        return True

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.call_later(PAUSE_SECONDS, self._resume)
            self.update_listening()

    def _resume(self) -> None:
        if all(listener.fileno() >= 0 for listener in self._listeners):
            self._paused = False
            self.update_listening()


def _load_key(desk: WorkerSlot) -> tuple[bool, int, int]:
    return desk.draining, desk.open_connections, desk.last_assigned  # who is leaving takes one only where no other can

"""The listening socket of several workers: assigns each connection to the worker with the fewest connections.

Depends on sockets and the number of connections of each worker only: it handles no process, signal or request.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from service.server.idle import max_connections

BACKLOG = 2048  # connections that the kernel holds until they are accepted
MAX_ACCEPTS_PER_EVENT = 32  # connections accepted before messages of workers are read
PAUSE_SECONDS = 0.05  # pause of accepting after an error, such as too many open files or a full channel

log = structlog.get_logger()


@dataclass(eq=False)
class WorkerSlot:
    """One worker as the acceptor sees it.

    Connections are sent through `channel`. `in_transit` are connections that were sent and not acknowledged; no worker
    has read from them. `last_assigned` is the number of the latest connection, so that equal workers take turns.
    """

    channel: socket.socket
    ready: bool = False
    draining: bool = False
    open_connections: int = 0
    last_assigned: int = 0
    in_transit: deque[socket.socket] = field(default_factory=deque[socket.socket])

    def acknowledge(self, count: int) -> None:
        """Close our copies of the `count` oldest connections in transit, because the worker has accepted them."""
        for _ in range(min(count, len(self.in_transit))):
            self.in_transit.popleft().close()


class Acceptor:
    """Accepts connections while a worker can take one. Otherwise, connections wait in the kernel's backlog."""

    def __init__(self, listeners: Sequence[socket.socket], slots: dict[int, WorkerSlot]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._slots = slots
        self._max_connections = max_connections()
        self._unassigned: deque[socket.socket] = deque()  # accepted, but not sent to a worker
        self._accepting = False
        self._paused = False
        self._assigned = 0
        for listener in listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)

    def update_listening(self) -> None:
        """Start or stop to accept. Must be called whenever a worker can take more connections, or none."""
        accepting = not self._paused and any(self._can_accept(slot) for slot in self._slots.values())
        if accepting and not self._accepting:
            for listener in self._listeners:
                self._loop.add_reader(listener, self.accept, MAX_ACCEPTS_PER_EVENT)
        elif self._accepting and not accepting:
            for listener in self._listeners:
                self._loop.remove_reader(listener)
        self._accepting = accepting
        if accepting and self._unassigned:
            self._loop.call_soon(self.accept, len(self._unassigned))

    def reclaim(self, slot: WorkerSlot) -> None:
        """Take back the connections that a dead worker has not accepted, and assign them to other workers."""
        self._unassigned.extend(slot.in_transit)
        slot.open_connections -= len(slot.in_transit)
        slot.in_transit.clear()
        self.update_listening()

    async def close(self, attempts: int) -> None:
        """Assign the connections in the backlog, with at most `attempts` attempts, then close the listening socket."""
        for _ in range(attempts):
            if self.accept(BACKLOG):
                break
            await asyncio.sleep(PAUSE_SECONDS)
        self._paused = True
        self.update_listening()
        for listener in self._listeners:
            listener.close()

    def accept(self, limit: int) -> bool:
        """Accept and assign at most `limit` connections. Return whether the backlog is empty."""
        for _ in range(limit):
            slots = sorted(filter(self._can_accept, self._slots.values()), key=_load_key)
            if not slots:
                break
            try:
                connection = self._unassigned.popleft() if self._unassigned else self._accept_next()
            except BlockingIOError:
                return True
            except ConnectionError:
                continue  # the client closed the connection before it was accepted
            except OSError as error:
                log.warning("accept_failed", reason=str(error))
                self._pause()
                return False
            if not any(self._assign(connection, slot) for slot in slots):
                self._unassigned.appendleft(connection)
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

    def _can_accept(self, slot: WorkerSlot) -> bool:
        return slot.ready and slot.open_connections < self._max_connections

    def _assign(self, connection: socket.socket, slot: WorkerSlot) -> bool:
        """Send a connection to a worker. Return whether the channel had room for it."""
        try:
            socket.send_fds(slot.channel, [b"+"], [connection.fileno()])
        except OSError:
            return False
        self._assigned += 1
        slot.last_assigned = self._assigned
        slot.open_connections += 1
        slot.in_transit.append(connection)
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


def _load_key(slot: WorkerSlot) -> tuple[bool, int, int]:
    """Sort workers by load. A draining worker gets connections only if no other worker can take them."""
    return slot.draining, slot.open_connections, slot.last_assigned

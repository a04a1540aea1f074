"""The port: accepts connections and hands each to the worker that holds the fewest.

Knows sockets and how many connections each worker holds; no process, no signal, no byte of a request.
"""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field

import structlog

BACKLOG = 2048  # connections that the kernel keeps until they are accepted
TURN = 32  # connections accepted before workers are heard again
PAUSE = 0.05  # seconds without accepting where no file can be opened or no channel has room
OWN_FILES = 100  # files a worker opens besides its connections

log = structlog.get_logger()


@dataclass(eq=False)
class Desk:
    """What the port knows of a worker: the channel that connections go through, and how many it holds."""

    channel: socket.socket
    ready: bool = False
    leaving: bool = False
    held: int = 0
    turn: int = 0  # of its latest connection, so that those who hold as many take turns
    sent: deque[socket.socket] = field(default_factory=deque[socket.socket])  # not adopted yet, so nobody has read them

    def adopted(self, count: int) -> None:
        """The worker has as many more of those that were sent."""
        for _ in range(min(count, len(self.sent))):
            self.sent.popleft().close()


class Reception:
    """Listens while a desk can take a connection; otherwise connections wait in the backlog."""

    def __init__(self, listener: socket.socket, desks: dict[int, Desk]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._desks = desks
        self._room = _files() - OWN_FILES
        self._waiting: deque[socket.socket] = deque()  # accepted, but with no worker
        self._accepting = self._paused = False
        self._turn = 0
        listener.setblocking(False)
        listener.listen(BACKLOG)

    def attend(self) -> None:
        """Begin or cease to accept, as there are desks that can take a connection."""
        wanted = not self._paused and any(self._takes(desk) for desk in self._desks.values())
        if wanted and not self._accepting:
            self._loop.add_reader(self._listener, self.accept, TURN)
        elif self._accepting and not wanted:
            self._loop.remove_reader(self._listener)
        self._accepting = wanted
        if wanted and self._waiting:
            self._loop.call_soon(self.accept, len(self._waiting))

    def take_back(self, desk: Desk) -> None:
        """The desk is gone: what it has not adopted goes to others."""
        self._waiting.extend(desk.sent)
        desk.held -= len(desk.sent)
        desk.sent.clear()
        self.attend()

    async def close(self, tries: int) -> None:
        """Hand over whoever has connected, then close the port."""
        while tries and not self.accept(BACKLOG):
            tries -= 1
            await asyncio.sleep(PAUSE)
        self._paused = True
        self.attend()
        self._listener.close()

    def accept(self, most: int) -> bool:
        """Hand over so many at most; whether nobody is left in the backlog."""
        for _ in range(most):
            desks = sorted(filter(self._takes, self._desks.values()), key=_reluctance)
            if not desks:
                break
            try:
                connection = self._waiting.popleft() if self._waiting else self._listener.accept()[0]
            except BlockingIOError:
                return True
            except ConnectionError:
                continue  # it went before it was accepted
            except OSError as error:
                log.warning("cannot accept", reason=str(error))
                self._pause()
                return False
            if not any(self._hand_over(connection, desk) for desk in desks):
                self._waiting.appendleft(connection)
                self._pause()
                return False
        self.attend()
        return False

    def _takes(self, desk: Desk) -> bool:
        return desk.ready and desk.held < self._room

    def _hand_over(self, connection: socket.socket, desk: Desk) -> bool:
        try:
            socket.send_fds(desk.channel, [b"+"], [connection.fileno()])
        except OSError:
            return False
        self._turn += 1
        desk.turn, desk.held = self._turn, desk.held + 1
        desk.sent.append(connection)
        return True

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.call_later(PAUSE, self._resume)
            self.attend()

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._paused = False
            self.attend()


def _reluctance(desk: Desk) -> tuple[bool, int, int]:
    return desk.leaving, desk.held, desk.turn  # who is leaving takes one only where no other can


def _files() -> int:
    """Files a process may have open, and so a worker too."""
    import resource  # not on Windows, where this module is imported all the same

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(soft, OWN_FILES + 1)

"""Several workers behind one port: starts them, replaces who dies, stops them so that nobody is left unanswered.

Knows processes and signals; how connections are shared is the reception's business, what a worker does the target's.
"""

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from time import monotonic

import structlog

from service.server.acceptor import Desk, Reception
from service.server.worker import ADOPTED, CLOSED, LEAVING, READY

YOUNG = 10.0  # seconds; whoever dies sooner may die again, so the next waits longer, up to LONGEST
LONGEST = 30.0
RETRY = 1.0  # seconds until another try where the system had no room for a process
MARGIN = 5.0  # seconds above what workers take to stop; then they are killed
TRIES = 20  # to hand over whoever has connected before the port closes
STARTUP_FAILURE = 3  # the status that uvicorn ends with

log = structlog.get_logger()
Target = Callable[[socket.socket], None]


@dataclass(eq=False)
class Worker:
    """A process and its desk."""

    process: BaseProcess
    desk: Desk
    first: bool  # not there to replace another
    born: float = field(default_factory=monotonic)
    started: bool = False


class Supervisor:
    """Owns the workers. `drain` is what a worker has to finish in; `linger` how long a stop keeps the port open."""

    def __init__(self, listener: socket.socket, target: Target, linger: float, drain: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._target, self._linger, self._drain = target, linger, drain
        self._workers: set[Worker] = set()
        self._desks: dict[int, Desk] = {}
        self._reception = Reception(listener, self._desks)
        self._over, self._empty, self._hurried = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._status = 0
        self._deaths = 0

    async def run(self, number: int) -> int:
        """Serve until a signal or until a worker cannot start; the status to end with."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(kind, self._signalled, kind)
        for _ in range(number):
            self._start(first=True)
        await self._over.wait()
        await self._stop()
        return self._status

    def _signalled(self, kind: int) -> None:
        """The first begins the stop; another ends it at once."""
        if self._over.is_set():
            self._status = 128 + kind
            self._hurried.set()
            self._kill()
        self._over.set()

    def _start(self, *, first: bool = False) -> None:
        if self._over.is_set():
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        process = multiprocessing.get_context("spawn").Process(target=self._target, args=(theirs,))
        try:
            process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = Worker(process, Desk(ours), first)
        self._workers.add(worker)
        self._desks[process.sentinel] = worker.desk
        self._loop.add_reader(ours, self._listen, worker)
        self._loop.add_reader(process.sentinel, self._ended, worker)

    def _replace(self) -> None:
        """Start a worker in place of one that ended; where the system has no room for it now, try again."""
        try:
            self._start()
        except OSError as error:  # no files, memory or processes to be had
            log.warning("no worker can be started now", reason=str(error), seconds=RETRY)
            self._loop.call_later(RETRY, self._replace)

    def _listen(self, worker: Worker) -> None:
        desk = worker.desk
        words = self._hear(desk)
        if words is None:
            return
        if not words:
            self._loop.remove_reader(desk.channel)  # it is ending; its sentinel says when
            desk.ready = False
        if READY in words:
            worker.started = desk.ready = True
            log.info("worker ready", pid=worker.process.pid)
        if LEAVING in words and not self._over.is_set():
            desk.leaving = True  # told by another; if all are told, our own signal is on its way
            self._loop.call_later(self._linger, self._dismiss, worker)
        self._reception.attend()

    def _hear(self, desk: Desk) -> bytes | None:
        """What the worker says now: nothing yet is None, and nothing ever again is empty."""
        try:
            words = desk.channel.recv(4096)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""
        desk.held -= words.count(CLOSED)
        desk.adopted(words.count(ADOPTED))
        return words

    def _dismiss(self, worker: Worker) -> None:
        if not self._over.is_set():
            self._release(worker)

    def _release(self, worker: Worker) -> None:
        """Tell a worker that it has all its connections; it ends when they are served."""
        worker.desk.ready = False
        with suppress(OSError):  # it may have died
            worker.desk.channel.shutdown(socket.SHUT_WR)

    def _ended(self, worker: Worker) -> None:
        pid, status = self._bury(worker)
        if self._over.is_set():
            return
        if status > 0 and worker.first and not worker.started:
            log.error("a worker cannot start", pid=pid, status=status)
            self._status = STARTUP_FAILURE
            self._over.set()
            return
        self._deaths = self._deaths + 1 if monotonic() - worker.born < YOUNG else 0
        seconds = min(LONGEST, max(0.0, 2.0 ** min(self._deaths, 10) / 2 - 1))
        lost = worker.desk.held
        log.warning("worker ended, another follows", pid=pid, status=status, lost_connections=lost, seconds=seconds)
        self._loop.call_later(seconds, self._replace)

    def _bury(self, worker: Worker) -> tuple[int, int]:
        process = worker.process
        self._loop.remove_reader(process.sentinel)
        self._loop.remove_reader(worker.desk.channel)
        self._hear(worker.desk)  # its last words: what it adopted is lost, all else is not
        worker.desk.channel.close()
        self._workers.remove(worker)
        del self._desks[process.sentinel]
        self._reception.take_back(worker.desk)
        process.join()
        pid, status = process.pid or 0, process.exitcode or 0
        process.close()
        if not self._workers:
            self._empty.set()
        return pid, status

    async def _stop(self) -> None:
        """Whoever connected is handed over before the port closes, and answered before its worker ends."""
        self._empty.set() if not self._workers else self._empty.clear()
        for worker in self._workers:
            worker.process.terminate() if worker.started else worker.process.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), 0 if self._status else self._linger)
        await self._reception.close(0 if self._hurried.is_set() else TRIES)
        for worker in self._workers:
            self._release(worker)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), self._drain + MARGIN)
        self._kill()
        await self._empty.wait()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()


async def supervise(listener: socket.socket, target: Target, number: int, linger: float, drain: float) -> int:
    """Serve with so many workers, each a process that runs `target` with its channel; the status to end with."""
    return await Supervisor(listener, target, linger, drain).run(number)

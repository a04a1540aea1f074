"""Several workers behind one port: starts them, replaces who dies, stops them so that nobody is left unanswered.

Knows processes and signals; how connections are shared is the reception's business, what a worker does the target's.
"""

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from time import monotonic

import structlog

from service.server.acceptor import Acceptor, WorkerSlot
from service.server.worker import ACCEPTED, CLOSED, DRAINING, READY

CRASH_LOOP_SECONDS = 10.0  # a worker that lives shorter delays its replacement, up to MAX_BACKOFF
MAX_BACKOFF = 30.0
RETRY_SECONDS = 1.0  # seconds until another try where the system had no room for a process
KILL_MARGIN_SECONDS = 5.0  # seconds above what workers take to stop; then they are killed
CLOSE_TRIES = 20  # to hand over whoever has connected before the port closes
STARTUP_FAILURE = 3  # the status that uvicorn ends with

log = structlog.get_logger()
Target = Callable[[socket.socket], None]


@dataclass(eq=False)
class Worker:
    """A process and its desk."""

    process: BaseProcess
    slot: WorkerSlot
    initial: bool  # not there to replace another
    started_at: float = field(default_factory=monotonic)
    started: bool = False


class Supervisor:
    """Owns the workers. `drain` is what a worker has to finish in; `linger` how long a stop keeps the port open."""

    def __init__(
        self, listeners: Sequence[socket.socket], target: Target, shutdown_delay: float, drain_timeout: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._target, self._shutdown_delay, self._drain_timeout = target, shutdown_delay, drain_timeout
        self._workers: set[Worker] = set()
        self._slots: dict[int, WorkerSlot] = {}
        self._acceptor = Acceptor(listeners, self._slots)
        self._stopping, self._all_exited, self._force = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._status = 0
        self._crashes = 0

    async def run(self, number: int) -> int:
        """Serve until a signal or until a worker cannot start; the status to end with."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(kind, self._on_signal, kind)
        for _ in range(number):
            self._start(initial=True)
        await self._stopping.wait()
        await self._stop()
        return self._status

    def _on_signal(self, kind: int) -> None:
        """The first begins the stop; another ends it at once."""
        if self._stopping.is_set():
            self._status = 128 + kind
            self._force.set()
            self._kill()
        self._stopping.set()

    def _start(self, *, initial: bool = False) -> None:
        if self._stopping.is_set():
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
        worker = Worker(process, WorkerSlot(ours), initial)
        self._workers.add(worker)
        self._slots[process.sentinel] = worker.slot
        self._loop.add_reader(ours, self._on_readable, worker)
        self._loop.add_reader(process.sentinel, self._on_exit, worker)

    def _replace(self) -> None:
        """Start a worker in place of one that ended; where the system has no room for it now, try again."""
        try:
            self._start()
        except OSError as error:  # no files, memory or processes to be had
            log.warning("worker_start_postponed", reason=str(error), seconds=RETRY_SECONDS)
            self._loop.call_later(RETRY_SECONDS, self._replace)

    def _on_readable(self, worker: Worker) -> None:
        slot = worker.slot
        messages = self._read_messages(slot)
        if messages is None:
            return
        if not messages:
            self._loop.remove_reader(slot.channel)  # it is ending; its sentinel says when
            slot.ready = False
        if READY in messages:
            worker.started = slot.ready = True
            log.info("worker_ready", pid=worker.process.pid)
        if DRAINING in messages and not self._stopping.is_set():
            slot.draining = True  # told by another; if all are told, our own signal is on its way
            self._loop.call_later(self._shutdown_delay, self._drain_if_running, worker)
        self._acceptor.update_listening()

    def _read_messages(self, slot: WorkerSlot) -> bytes | None:
        """What the worker says now: nothing yet is None, and nothing ever again is empty."""
        try:
            messages = slot.channel.recv(4096)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""
        slot.open_connections -= messages.count(CLOSED)
        slot.acknowledge(messages.count(ACCEPTED))
        return messages

    def _drain_if_running(self, worker: Worker) -> None:
        if not self._stopping.is_set():
            self._drain(worker)

    def _drain(self, worker: Worker) -> None:
        """Tell a worker that it has all its connections; it ends when they are served."""
        worker.slot.ready = False
        with suppress(OSError):  # it may have died
            worker.slot.channel.shutdown(socket.SHUT_WR)

    def _on_exit(self, worker: Worker) -> None:
        pid, status = self._reap(worker)
        if self._stopping.is_set():
            return
        if status > 0 and worker.initial and not worker.started:
            log.error("worker_start_failed", pid=pid, status=status)
            self._status = STARTUP_FAILURE
            self._stopping.set()
            return
        self._crashes = self._crashes + 1 if monotonic() - worker.started_at < CRASH_LOOP_SECONDS else 0
        seconds = min(MAX_BACKOFF, max(0.0, 2.0 ** min(self._crashes, 10) / 2 - 1))
        lost = worker.slot.open_connections
        log.warning("worker_restarting", pid=pid, status=status, lost_connections=lost, seconds=seconds)
        self._loop.call_later(seconds, self._replace)

    def _reap(self, worker: Worker) -> tuple[int, int]:
        process = worker.process
        self._loop.remove_reader(process.sentinel)
        self._loop.remove_reader(worker.slot.channel)
        self._read_messages(worker.slot)  # its last words: what it adopted is lost, all else is not
        worker.slot.channel.close()
        self._workers.remove(worker)
        del self._slots[process.sentinel]
        self._acceptor.reclaim(worker.slot)
        process.join()
        pid, status = process.pid or 0, process.exitcode or 0
        process.close()
        if not self._workers:
            self._all_exited.set()
        return pid, status

    async def _stop(self) -> None:
        """Whoever connected is handed over before the port closes, and answered before its worker ends."""
        self._all_exited.set() if not self._workers else self._all_exited.clear()
        for worker in self._workers:
            worker.process.terminate() if worker.started else worker.process.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._force.wait(), 0 if self._status else self._shutdown_delay)
        await self._acceptor.close(0 if self._force.is_set() else CLOSE_TRIES)
        for worker in self._workers:
            self._drain(worker)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_exited.wait(), self._drain_timeout + KILL_MARGIN_SECONDS)
        self._kill()
        await self._all_exited.wait()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()


async def supervise(
    listeners: Sequence[socket.socket], target: Target, number: int, shutdown_delay: float, drain_timeout: float
) -> int:
    """Serve with so many workers, each a process that runs `target` with its channel; the status to end with."""
    return await Supervisor(listeners, target, shutdown_delay, drain_timeout).run(number)

"""Several worker processes behind one port: starts them, replaces those that die, and stops them gracefully.

The acceptor assigns connections to workers, and `target` is the code of a worker.
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

CRASH_LOOP_SECONDS = 10.0  # after a shorter life of a worker, the replacement starts with a delay
MAX_BACKOFF = 30.0  # longest delay of a replacement, in seconds
RETRY_SECONDS = 1.0  # delay of the next attempt if the system could not start a process
KILL_MARGIN_SECONDS = 5.0  # workers that stop later than this after the drain timeout are killed
CLOSE_ATTEMPTS = 20  # attempts to assign the connections of the backlog before the port closes
STARTUP_FAILURE = 3  # exit status of uvicorn if the application does not start

log = structlog.get_logger()
Target = Callable[[socket.socket], None]


@dataclass(eq=False)
class Worker:
    """A worker process, and its slot in the acceptor.

    `initial` is False for a replacement. `started` is True once the worker has reported that it is ready.
    """

    process: BaseProcess
    slot: WorkerSlot
    initial: bool
    started_at: float = field(default_factory=monotonic)
    started: bool = False


class Supervisor:
    """Starts, replaces and stops the workers.

    After a signal, the port stays open for `shutdown_delay` seconds. Then the workers have `drain_timeout` seconds to
    finish their requests.
    """

    def __init__(
        self, listeners: Sequence[socket.socket], target: Target, shutdown_delay: float, drain_timeout: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._target = target
        self._shutdown_delay = shutdown_delay
        self._drain_timeout = drain_timeout
        self._workers: set[Worker] = set()
        self._slots: dict[int, WorkerSlot] = {}
        self._acceptor = Acceptor(listeners, self._slots)
        self._stopping = asyncio.Event()
        self._all_exited = asyncio.Event()
        self._force = asyncio.Event()
        self._status = 0
        self._crashes = 0

    async def run(self, number: int) -> int:
        """Serve with `number` workers until a signal, or until one cannot start. Return the exit status."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(kind, self._on_signal, kind)
        for _ in range(number):
            self._start(initial=True)
        await self._stopping.wait()
        await self._stop()
        return self._status

    def _on_signal(self, kind: int) -> None:
        """Begin the shutdown, or kill the workers if it has already begun."""
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
        """Start a worker in place of one that has ended. Try again later if the system cannot start a process."""
        try:
            self._start()
        except OSError as error:  # no more files, memory or processes
            log.warning("worker_start_postponed", reason=str(error), seconds=RETRY_SECONDS)
            self._loop.call_later(RETRY_SECONDS, self._replace)

    def _on_readable(self, worker: Worker) -> None:
        """Handle the messages of a worker."""
        slot = worker.slot
        messages = self._read_messages(slot)
        if messages is None:
            return
        if not messages:
            self._loop.remove_reader(slot.channel)  # the worker is ending; `_on_exit` follows
            slot.ready = False
        if READY in messages:
            worker.started = slot.ready = True
            log.info("worker_ready", pid=worker.process.pid)
        if DRAINING in messages and not self._stopping.is_set():
            # This worker received the signal. If it was sent to all processes, ours follows within the delay.
            slot.draining = True
            self._loop.call_later(self._shutdown_delay, self._drain_if_running, worker)
        self._acceptor.update_listening()

    def _read_messages(self, slot: WorkerSlot) -> bytes | None:
        """Read the messages of a worker. Return None if there are none yet, and empty bytes if no more will come."""
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
        """Close our side of the channel, so that the worker ends once its connections are served."""
        worker.slot.ready = False
        with suppress(OSError):  # the worker may have died
            worker.slot.channel.shutdown(socket.SHUT_WR)

    def _on_exit(self, worker: Worker) -> None:
        """Replace a worker that has ended, unless the service stops or the worker could not start."""
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
        """Remove a worker that has ended. Return its process id and exit status."""
        process = worker.process
        self._loop.remove_reader(process.sentinel)
        self._loop.remove_reader(worker.slot.channel)
        self._read_messages(worker.slot)  # connections that it has accepted are lost, all others are reclaimed
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
        """Assign all accepted connections, close the listener, then wait for the workers to drain."""
        if self._workers:
            self._all_exited.clear()
        else:
            self._all_exited.set()
        for worker in self._workers:
            if worker.started:
                worker.process.terminate()
            else:
                worker.process.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._force.wait(), 0 if self._status else self._shutdown_delay)
        await self._acceptor.close(0 if self._force.is_set() else CLOSE_ATTEMPTS)
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
    """Serve with `number` worker processes, each of which runs `target` with its channel. Return the exit status."""
    return await Supervisor(listeners, target, shutdown_delay, drain_timeout).run(number)

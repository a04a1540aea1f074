"""Detects stalled inference and terminates the process.

A run that hangs, a pool that died and a blocked event loop have the same symptom: connections are accepted, but no
response is sent. The watchdog checks the runs in progress, sends canary requests through idle queues, and watches the
event loop from a thread. It measures time in ticks, so that neither a change of the clock nor a suspended process
counts as a stall.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import structlog

from service.engine.model import Runner
from service.engine.scheduler import BatchResult, InferenceError

EXIT_STATUS = 70  # EX_SOFTWARE
INTERVAL = 1.0  # seconds per tick
CANARY_TICKS = 10  # ticks between canary requests
MAX_CANARY_FAILURES = 3  # consecutive failures of the canaries of one graph
GRACE_TICKS = 5  # ticks between a failure and the exit, so that probes see that /livez fails

log = structlog.get_logger()


def exit_now() -> None:
    """End the process immediately. A graceful shutdown would wait for the stalled run."""
    os._exit(EXIT_STATUS)


class Watchdog:
    """Watches all runners. `failure` is empty, or a sentence that says what is stalled.

    `timeout_ticks` is the number of ticks after which a run counts as stalled. `interval` is the length of a tick in
    seconds. `terminate` is called `GRACE_TICKS` after a failure, or immediately if the event loop is blocked.
    """

    def __init__(
        self,
        runners: Callable[[], Iterable[Runner]],
        timeout_ticks: int,
        *,
        interval: float = INTERVAL,
        terminate: Callable[[], None] = exit_now,
    ) -> None:
        self.failure = ""
        self._runners = runners
        self._timeout_ticks = timeout_ticks
        self._interval = interval
        self._terminate = terminate
        self._ages: dict[asyncio.Future[Any], int] = {}  # ticks since a run was first seen
        self._canaries: dict[Runner, asyncio.Future[BatchResult]] = {}
        # Weak references, so that the memory of models that were unloaded meanwhile is free at once.
        self._failures: WeakKeyDictionary[Runner, int] = WeakKeyDictionary()
        self._completed: WeakKeyDictionary[Runner, int] = WeakKeyDictionary()  # completed runs at the last tick
        self._completed_at_canary: WeakKeyDictionary[Runner, int] = WeakKeyDictionary()  # and at the last canaries
        self._missed_ticks = 0  # ticks of the thread since the last tick of the event loop
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Check at every tick until cancelled or until a check fails. Start a thread that watches the event loop."""
        threading.Thread(target=self._watch_event_loop, name="watchdog", daemon=True).start()
        ticks = 0
        try:
            while not self.failure:
                await asyncio.sleep(self._interval)
                self._missed_ticks = 0
                ticks += 1
                self.failure = self._check()
                if ticks % CANARY_TICKS == 0:
                    self._send_canaries()
            log.critical("watchdog_failed", reason=self.failure, status=EXIT_STATUS)
            await asyncio.sleep(GRACE_TICKS * self._interval)
            self._terminate()
        finally:
            self._stopped.set()
            for canary in self._canaries.values():
                canary.cancel()

    def _check(self) -> str:
        """Return the reason of a failure, or an empty string."""
        runners = list(self._runners())
        pending = {run for runner in runners for run in runner.scheduler.running}
        self._failures = WeakKeyDictionary({runner: self._failures.get(runner, 0) for runner in runners})
        for runner, canary in tuple(self._canaries.items()):
            if canary.done():
                del self._canaries[runner]
                if runner in self._failures and not canary.cancelled():
                    failed = isinstance(canary.exception(), InferenceError)
                    self._failures[runner] = self._failures[runner] + 1 if failed else 0
            elif self._completed.get(runner) == runner.scheduler.completed:
                pending.add(canary)  # no run has completed since the last tick, so the canary does not wait its turn
        self._completed = WeakKeyDictionary({runner: runner.scheduler.completed for runner in runners})
        self._ages = {run: self._ages.get(run, 0) + 1 for run in pending}
        if max(self._ages.values(), default=0) >= self._timeout_ticks:
            return f"a run has not finished within {self._timeout_ticks * self._interval:g} s"
        if max(self._failures.values(), default=0) >= MAX_CANARY_FAILURES:
            return f"a verified graph has failed on its probe {MAX_CANARY_FAILURES} times in a row"
        return ""

    def _send_canaries(self) -> None:
        """Send the first item of the probe to every runner that has completed no run since the last round."""
        for runner, completed in self._completed.items():
            if runner not in self._canaries and self._completed_at_canary.get(runner) == completed:
                self._canaries[runner] = asyncio.ensure_future(runner.scheduler.submit(runner.probe_item()))
        self._completed_at_canary = self._completed.copy()

    def _watch_event_loop(self) -> None:
        """Terminate the process if the event loop has not run for `timeout_ticks`. Runs in a thread."""
        while not self._stopped.wait(self._interval):
            self._missed_ticks += 1
            if self._missed_ticks > self._timeout_ticks:
                log.critical("watchdog_failed", reason="the event loop is blocked", status=EXIT_STATUS)
                self._terminate()
                return

"""Whether work still comes to an end: a canary through every queue, and an end of the process where nothing else ends.

A run that hangs, a pool that died and a blocked event loop look alike from outside: connections are taken, and nothing
comes back. Time is counted in looks, so that neither a jump of the clock nor a pause of the process counts as hanging.
Knows runners; no request and no model.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from service.engine.batcher import BatchResult, InferenceError
from service.engine.model import Runner

EXIT_STATUS = 70  # the process's status; EX_SOFTWARE
INTERVAL = 1.0  # seconds between looks
CANARY_TICKS = 10  # looks between canaries
MAX_CANARY_FAILURES = 3  # canaries of a graph in a row that may fail
GRACE_TICKS = 5  # looks between the verdict and the end, for /livez to be seen red

log = structlog.get_logger()


def exit_now() -> None:
    """End the process at once: a graceful end would wait for what hangs."""
    os._exit(EXIT_STATUS)


class Watchdog:
    """Looks after the runners; `verdict` is empty, or says what hangs, once it has for `patience` looks."""

    def __init__(
        self,
        runners: Callable[[], Iterable[Runner]],
        timeout_ticks: int,
        *,
        interval: float = INTERVAL,
        terminate: Callable[[], None] = exit_now,
    ) -> None:
        self.failure = ""
        self._runners, self._timeout_ticks, self._interval, self._terminate = (
            runners,
            timeout_ticks,
            interval,
            terminate,
        )
        self._ages: dict[asyncio.Future[Any], int] = {}  # looks that a run has been waited for
        self._canaries: dict[Runner, asyncio.Future[BatchResult]] = {}
        self._failures: dict[Runner, int] = {}
        self._completed: dict[Runner, int] = {}  # runs at the last look
        self._completed_at_canary: dict[Runner, int] = {}  # runs at the last round of canaries
        self._missed_ticks = 0  # looks of the thread since the loop's last
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Look, until cancelled or until something hangs; a thread beside it looks whether the loop still turns."""
        threading.Thread(target=self._watch_event_loop, name="watchdog", daemon=True).start()
        looks = 0
        try:
            while not self.failure:
                await asyncio.sleep(self._interval)
                self._missed_ticks = 0
                looks += 1
                self.failure = self._check()
                if looks % CANARY_TICKS == 0:
                    self._send_canaries()
            log.critical("watchdog_failed", reason=self.failure, status=EXIT_STATUS)
            await asyncio.sleep(GRACE_TICKS * self._interval)
            self._terminate()
        finally:
            self._stopped.set()
            for canary in self._canaries.values():
                canary.cancel()

    def _check(self) -> str:
        """What hangs, or nothing."""
        runners = list(self._runners())
        waited_for = {run for runner in runners for run in runner.batcher.running}
        self._failures = {runner: self._failures.get(runner, 0) for runner in runners}
        for runner, canary in tuple(self._canaries.items()):
            if canary.done():
                del self._canaries[runner]
                if runner in self._failures and not canary.cancelled():
                    failed = isinstance(canary.exception(), InferenceError)
                    self._failures[runner] = self._failures[runner] + 1 if failed else 0
            elif self._completed.get(runner) == runner.batcher.completed:
                waited_for.add(canary)  # and nobody before it comes to an end either
        self._completed = {runner: runner.batcher.completed for runner in runners}
        self._ages = {run: self._ages.get(run, 0) + 1 for run in waited_for}
        if max(self._ages.values(), default=0) >= self._timeout_ticks:
            return f"a run has not come back for {self._timeout_ticks * self._interval:g} s"
        if max(self._failures.values(), default=0) >= MAX_CANARY_FAILURES:
            return f"a graph that was proven has failed on its own probe {MAX_CANARY_FAILURES} times in a row"
        return ""

    def _send_canaries(self) -> None:
        """The probe's first item through every queue that nothing has come through since the last time."""
        for runner, finished in self._completed.items():
            if runner not in self._canaries and self._completed_at_canary.get(runner) == finished:
                self._canaries[runner] = asyncio.ensure_future(runner.batcher.submit(runner.probe_item()))
        self._completed_at_canary = dict(self._completed)

    def _watch_event_loop(self) -> None:
        while not self._stopped.wait(self._interval):
            self._missed_ticks += 1
            if self._missed_ticks > self._timeout_ticks:
                log.critical("watchdog_failed", reason="the event loop does not turn", status=EXIT_STATUS)
                self._terminate()
                return

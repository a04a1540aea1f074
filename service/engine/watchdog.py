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

from service.engine.batcher import Done, RunFailed
from service.engine.model import Runner

STUCK = 70  # the process's status; EX_SOFTWARE
LOOK = 1.0  # seconds between looks
CANARY = 10  # looks between canaries
FAILURES = 3  # canaries of a graph in a row that may fail
SEEN = 5  # looks between the verdict and the end, for /livez to be seen red

log = structlog.get_logger()


def leave() -> None:
    """End the process at once: a graceful end would wait for what hangs."""
    os._exit(STUCK)


class Watchdog:
    """Looks after the runners; `verdict` is empty, or says what hangs, once it has for `patience` looks."""

    def __init__(
        self,
        runners: Callable[[], Iterable[Runner]],
        patience: int,
        *,
        look: float = LOOK,
        end: Callable[[], None] = leave,
    ) -> None:
        self.verdict = ""
        self._runners, self._patience, self._look, self._end = runners, patience, look, end
        self._ages: dict[asyncio.Future[Any], int] = {}  # looks that a run has been waited for
        self._canaries: dict[Runner, asyncio.Future[Done]] = {}
        self._failures: dict[Runner, int] = {}
        self._finished: dict[Runner, int] = {}  # runs at the last look
        self._proven: dict[Runner, int] = {}  # runs at the last round of canaries
        self._missed = 0  # looks of the thread since the loop's last
        self._over = threading.Event()

    async def attend(self) -> None:
        """Look, until cancelled or until something hangs; a thread beside it looks whether the loop still turns."""
        threading.Thread(target=self._mind_the_loop, name="watchdog", daemon=True).start()
        looks = 0
        try:
            while not self.verdict:
                await asyncio.sleep(self._look)
                self._missed = 0
                looks += 1
                self.verdict = self._judge()
                if looks % CANARY == 0:
                    self._send_canaries()
            log.critical("stuck", reason=self.verdict, status=STUCK)
            await asyncio.sleep(SEEN * self._look)
            self._end()
        finally:
            self._over.set()
            for canary in self._canaries.values():
                canary.cancel()

    def _judge(self) -> str:
        """What hangs, or nothing."""
        runners = list(self._runners())
        waited_for = {run for runner in runners for run in runner.batcher.under_way}
        self._failures = {runner: self._failures.get(runner, 0) for runner in runners}
        for runner, canary in tuple(self._canaries.items()):
            if canary.done():
                del self._canaries[runner]
                if runner in self._failures and not canary.cancelled():
                    failed = isinstance(canary.exception(), RunFailed)
                    self._failures[runner] = self._failures[runner] + 1 if failed else 0
            elif self._finished.get(runner) == runner.batcher.finished:
                waited_for.add(canary)  # and nobody before it comes to an end either
        self._finished = {runner: runner.batcher.finished for runner in runners}
        self._ages = {run: self._ages.get(run, 0) + 1 for run in waited_for}
        if max(self._ages.values(), default=0) >= self._patience:
            return f"a run has not come back for {self._patience * self._look:g} s"
        if max(self._failures.values(), default=0) >= FAILURES:
            return f"a graph that was proven has failed on its own probe {FAILURES} times in a row"
        return ""

    def _send_canaries(self) -> None:
        """The probe's first item through every queue that nothing has come through since the last time."""
        for runner, finished in self._finished.items():
            if runner not in self._canaries and self._proven.get(runner) == finished:
                self._canaries[runner] = asyncio.ensure_future(runner.batcher.submit(runner.item()))
        self._proven = dict(self._finished)

    def _mind_the_loop(self) -> None:
        while not self._over.wait(self._look):
            self._missed += 1
            if self._missed > self._patience:
                log.critical("stuck", reason="the event loop does not turn", status=STUCK)
                self._end()
                return

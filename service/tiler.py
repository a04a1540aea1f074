"""Whose tile runs next: callers of a model for pictures of any size take turns by the tile, and none is run for nobody.

Knows arrays, a function to run and a pool; not where tiles lie (`tiling`), nor what the graph does.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.batcher import Batch, Done, RunFailed
from service.tiling import Grid, Tile

Array = NDArray[Any]
Run = Callable[[Array, bool], Array]
"""From a tile N,H,W,C to its answer; whether nothing waits behind it, so that memory may be given back."""

SMALL = 1 << 16  # pixels


@dataclass(slots=True, eq=False)
class Job:
    """One caller's picture (1,H,W,C), its answer as far as it is there, and the tiles that nobody has begun."""

    picture: Array
    output: Array
    tiles: deque[Tile]
    left: int
    future: "asyncio.Future[None]"
    begun: float = 0.0


class Tiler:
    """Runs a graph over pictures of any size, `runners` tiles at once in the pool; callers take turns by the tile.

    A picture of at most `small` pixels has a lane of its own beside them: it waits for no tile of a large one.
    """

    def __init__(
        self,
        run: Run,
        *,
        grid: Grid,
        pool: Executor,
        runners: int = 1,
        small: int = SMALL,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._run, self._grid, self._pool, self._observe = run, grid, pool, observe
        self._small, self._runners = small, runners
        self._free = {"tiles": runners, "small": 1}
        self._turns: dict[str, deque[Job]] = {"tiles": deque(), "small": deque()}

    async def submit(self, items: Array) -> Done:
        """The outputs of pictures N,H,W,C. Raises RunFailed. The tiles of a caller who has gone are not begun."""
        pieces: list[Done] = []
        for at in range(0, len(items), self._runners):  # as many at once as run at once: a bulk has as many turns
            some = range(at, min(at + self._runners, len(items)))
            pieces += await asyncio.gather(*(self._one(items[place : place + 1]) for place in some))
        if len(pieces) == 1:
            return pieces[0]
        outputs = np.concatenate([piece.outputs for piece in pieces])
        queue, run = sum(piece.queue for piece in pieces), sum(piece.run for piece in pieces)
        return Done(outputs, queue, run, Batch(items, outputs), 0)

    async def _one(self, picture: Array) -> Done:
        loop, joined = asyncio.get_running_loop(), perf_counter()
        _, height, width, _ = picture.shape
        tiles = self._grid.tiles(height, width)
        lane = "small" if height * width <= self._small else "tiles"
        job = Job(picture, np.empty_like(picture), deque(tiles), len(tiles), loop.create_future())
        self._turns[lane].append(job)
        self._start(loop, lane)
        await job.future
        self._observe(1)
        return Done(job.output, job.begun - joined, perf_counter() - job.begun, Batch(picture, job.output), 0)

    def _start(self, loop: asyncio.AbstractEventLoop, lane: str) -> None:
        """Begin tiles while there is room for them, one of each caller in turn."""
        turns = self._turns[lane]
        while turns and self._free[lane]:
            job = turns.popleft()
            if job.future.done():  # its caller has gone, or one of its tiles failed
                continue
            tile = job.tiles.popleft()
            if job.tiles:
                turns.append(job)
            self._free[lane] -= 1
            last = not any(self._turns.values())
            try:
                running = loop.run_in_executor(self._pool, self._work, job, tile, last)
            except RuntimeError as error:  # the pool was shut down: nobody may wait for ever
                self._free[lane] += 1
                job.future.set_exception(RunFailed(str(error)))
                continue
            running.add_done_callback(partial(self._finish, loop, lane, job))

    def _work(self, job: Job, tile: Tile, last: bool) -> None:
        """One tile, from the picture into the answer; in the pool."""
        job.begun = job.begun or perf_counter()
        rows, columns = tile.rows, tile.columns
        given = np.ascontiguousarray(job.picture[:, rows.start : rows.stop, columns.start : columns.stop])
        made = self._run(given, last)
        if made.shape != given.shape:
            raise RunFailed(f"the graph answered {made.shape} to {given.shape}")
        job.output[:, rows.first : rows.last, columns.first : columns.last] = made[
            :,
            rows.first - rows.start : rows.last - rows.start,
            columns.first - columns.start : columns.last - columns.start,
        ]

    def _finish(self, loop: asyncio.AbstractEventLoop, lane: str, job: Job, running: "asyncio.Future[None]") -> None:
        self._free[lane] += 1
        failed = asyncio.CancelledError() if running.cancelled() else running.exception()
        job.left -= 1
        if not job.future.done():
            if failed:
                job.future.set_exception(RunFailed(f"{type(failed).__name__}: {failed}"))
            elif not job.left:
                job.future.set_result(None)
        self._start(loop, lane)

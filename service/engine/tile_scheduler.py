"""Whose tile runs next: callers of a model for pictures of any size take turns by the tile, and none is run for nobody.

Knows arrays, a function to run and a pool; not where tiles lie (`tiling`), nor what the graph does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from service.engine.batcher import Batch, Done, RunFailed
from service.engine.tile_grid import Grid, Tile
from service.types import Array

Run = Callable[[Array], Array]

SMALL = 1 << 16  # pixels of a picture that waits for no tile
SHARE = 1 << 17  # pixels of a picture for each run that shares it; what they overlap is then a fourth at most, or so
KEPT = 1 << 18  # pixels of a tile whose memory is kept for the next: to fault it in anew takes 5 % longer


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

    A lone picture is cut for all runners, even where one tile would hold it. One of at most `small` pixels has a lane
    of its own beside them: it waits for no tile of a large one. `tidy` is called in the pool when nothing runs or waits
    any more after a large tile, to give its memory back. `observe` is told of every picture; `ran` of every tile, the
    bytes that it adds to an answer and the seconds that it took.
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
        ran: Callable[[int, float], None] = lambda *_: None,
        tidy: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._grid, self._pool, self._tidy = run, grid, pool, tidy
        self._observe, self._ran = observe, ran
        self._small, self._runners = small, runners
        self._free = {"tiles": runners, "small": 1}
        self._turns: dict[str, deque[Job]] = {"tiles": deque(), "small": deque()}
        self._grown = False
        self.under_way: set[asyncio.Future[Any]] = set()  # tiles that run
        self.finished = 0  # tiles, since the start

    def groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """Picture by picture, as many together as run at once: a bulk has no more turns than that."""
        pictures = [array[at : at + 1] for array in arrays for at in range(len(array))]
        return [pictures[at : at + self._runners] for at in range(0, len(pictures), self._runners)]

    async def submit(self, picture: Array) -> Done:
        """The output of a picture 1,H,W,C. Raises RunFailed. The tiles of a caller who has gone are not begun."""
        loop, joined = asyncio.get_running_loop(), perf_counter()
        _, height, width, _ = picture.shape
        lane = "small" if height * width <= self._small else "tiles"
        tiles = self._cut(height, width)
        output = np.empty(picture.shape, picture.dtype)
        job = Job(picture, output, deque(tiles), len(tiles), loop.create_future())
        self._turns[lane].append(job)
        self._start(loop, lane)
        await job.future
        self._observe(1)
        return Done(output, job.begun - joined, perf_counter() - job.begun, Batch(picture, output), 0)

    def _cut(self, height: int, width: int) -> Sequence[Tile]:
        """The tiles of a picture; while nobody else is there, at least one for each run that it is large enough for."""
        tiles = self._grid.tiles(height, width)
        idle = not self._turns["tiles"] and self._free["tiles"] == self._runners
        wanted = min(self._runners, height * width // SHARE)
        return self._grid.parts(height, width, wanted) if idle and len(tiles) < wanted else tiles

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
            try:
                running = loop.run_in_executor(self._pool, self._work, job, tile)
            except RuntimeError as error:  # the pool was shut down: nobody may wait for ever
                job.future.set_exception(RunFailed(str(error)))
                continue
            self._free[lane] -= 1
            self._grown = self._grown or tile.pixels > KEPT
            self.under_way.add(running)
            running.add_done_callback(partial(self._finish, loop, lane, job))

    def _work(self, job: Job, tile: Tile) -> None:
        """One tile, from the picture into the answer; in the pool."""
        begun = perf_counter()
        job.begun = job.begun or begun
        rows, columns = tile.rows, tile.columns
        given = np.ascontiguousarray(job.picture[:, rows.start : rows.stop, columns.start : columns.stop])
        made = self._run(given)
        if made.shape != given.shape:
            raise RunFailed(f"the graph answered {made.shape} to {given.shape}")
        down, right = rows.first - rows.start, columns.first - columns.start
        tall, wide = rows.last - rows.first, columns.last - columns.first
        kept = made[:, down : down + tall, right : right + wide]
        job.output[:, rows.first : rows.last, columns.first : columns.last] = kept
        self._ran(kept.nbytes, perf_counter() - begun)

    def _finish(self, loop: asyncio.AbstractEventLoop, lane: str, job: Job, running: "asyncio.Future[None]") -> None:
        self.under_way.discard(running)
        self.finished += 1
        self._free[lane] += 1
        failed = asyncio.CancelledError() if running.cancelled() else running.exception()
        job.left -= 1
        if not job.future.done():
            if failed:
                job.future.set_exception(RunFailed(f"{type(failed).__name__}: {failed}"))
            elif not job.left:
                job.future.set_result(None)
        self._start(loop, lane)
        idle = self._free == {"tiles": self._runners, "small": 1}
        if self._grown and idle:
            self._grown = False
            with suppress(RuntimeError):  # the pool was shut down, and all memory goes with it
                loop.run_in_executor(self._pool, self._tidy)

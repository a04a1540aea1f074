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

from service.engine.batcher import Batch, BatchResult, InferenceError
from service.engine.tile_grid import Grid, Tile
from service.types import Array

Run = Callable[[Array], Array]

FAST_LANE_PIXELS = 1 << 16  # pixels of a picture that waits for no tile
SPLIT_PIXELS = (
    1 << 17
)  # pixels of a picture for each run that shares it; what they overlap is then a fourth at most, or so
POOLED_PIXELS = 1 << 18  # pixels of a tile whose memory is kept for the next: to fault it in anew takes 5 % longer


@dataclass(slots=True, eq=False)
class ImageJob:
    """One caller's picture (1,H,W,C), its answer as far as it is there, and the tiles that nobody has begun."""

    picture: Array
    output: Array
    tiles: deque[Tile]
    remaining: int
    future: "asyncio.Future[None]"
    started_at: float = 0.0


class TileScheduler:
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
        fast_lane_pixels: int = FAST_LANE_PIXELS,
        on_batch: Callable[[int], None] = lambda _: None,
        on_run: Callable[[int, float], None] = lambda *_: None,
        release_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._grid, self._pool, self._release_memory = run, grid, pool, release_memory
        self._on_batch, self._on_run = on_batch, on_run
        self._fast_lane_pixels, self._runners = fast_lane_pixels, runners
        self._free_slots = {"tiles": runners, "small": 1}
        self._queues: dict[str, deque[ImageJob]] = {"tiles": deque(), "small": deque()}
        self._ran_large_tile = False
        self.running: set[asyncio.Future[Any]] = set()  # tiles that run
        self.completed = 0  # tiles, since the start

    def submission_groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """Picture by picture, as many together as run at once: a bulk has no more turns than that."""
        pictures = [array[at : at + 1] for array in arrays for at in range(len(array))]
        return [pictures[at : at + self._runners] for at in range(0, len(pictures), self._runners)]

    async def submit(self, picture: Array) -> BatchResult:
        """The output of a picture 1,H,W,C. Raises RunFailed. The tiles of a caller who has gone are not begun."""
        loop, joined = asyncio.get_running_loop(), perf_counter()
        _, height, width, _ = picture.shape
        lane = "small" if height * width <= self._fast_lane_pixels else "tiles"
        tiles = self._plan_tiles(height, width)
        output = np.empty(picture.shape, picture.dtype)
        job = ImageJob(picture, output, deque(tiles), len(tiles), loop.create_future())
        self._queues[lane].append(job)
        self._dispatch(loop, lane)
        await job.future
        self._on_batch(1)
        return BatchResult(output, job.started_at - joined, perf_counter() - job.started_at, Batch(picture, output), 0)

    def _plan_tiles(self, height: int, width: int) -> Sequence[Tile]:
        """The tiles of a picture; while nobody else is there, at least one for each run that it is large enough for."""
        tiles = self._grid.tiles(height, width)
        idle = not self._queues["tiles"] and self._free_slots["tiles"] == self._runners
        wanted = min(self._runners, height * width // SPLIT_PIXELS)
        return self._grid.split(height, width, wanted) if idle and len(tiles) < wanted else tiles

    def _dispatch(self, loop: asyncio.AbstractEventLoop, lane: str) -> None:
        """Begin tiles while there is room for them, one of each caller in turn."""
        turns = self._queues[lane]
        while turns and self._free_slots[lane]:
            job = turns.popleft()
            if job.future.done():  # its caller has gone, or one of its tiles failed
                continue
            tile = job.tiles.popleft()
            if job.tiles:
                turns.append(job)
            try:
                running = loop.run_in_executor(self._pool, self._run_tile, job, tile)
            except RuntimeError as error:  # the pool was shut down: nobody may wait for ever
                job.future.set_exception(InferenceError(str(error)))
                continue
            self._free_slots[lane] -= 1
            self._ran_large_tile = self._ran_large_tile or tile.pixels > POOLED_PIXELS
            self.running.add(running)
            running.add_done_callback(partial(self._on_done, loop, lane, job))

    def _run_tile(self, job: ImageJob, tile: Tile) -> None:
        """One tile, from the picture into the answer; in the pool."""
        begun = perf_counter()
        job.started_at = job.started_at or begun
        rows, columns = tile.rows, tile.columns
        given = np.ascontiguousarray(
            job.picture[:, rows.read_start : rows.read_stop, columns.read_start : columns.read_stop]
        )
        made = self._run(given)
        if made.shape != given.shape:
            raise InferenceError(f"the graph answered {made.shape} to {given.shape}")
        down, right = rows.keep_start - rows.read_start, columns.keep_start - columns.read_start
        tall, wide = rows.keep_stop - rows.keep_start, columns.keep_stop - columns.keep_start
        kept = made[:, down : down + tall, right : right + wide]
        job.output[:, rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = kept
        self._on_run(kept.nbytes, perf_counter() - begun)

    def _on_done(
        self, loop: asyncio.AbstractEventLoop, lane: str, job: ImageJob, running: "asyncio.Future[None]"
    ) -> None:
        self.running.discard(running)
        self.completed += 1
        self._free_slots[lane] += 1
        failed = asyncio.CancelledError() if running.cancelled() else running.exception()
        job.remaining -= 1
        if not job.future.done():
            if failed:
                job.future.set_exception(InferenceError(f"{type(failed).__name__}: {failed}"))
            elif not job.remaining:
                job.future.set_result(None)
        self._dispatch(loop, lane)
        idle = self._free_slots == {"tiles": self._runners, "small": 1}
        if self._ran_large_tile and idle:
            self._ran_large_tile = False
            with suppress(RuntimeError):  # the pool was shut down, and all memory goes with it
                loop.run_in_executor(self._pool, self._release_memory)

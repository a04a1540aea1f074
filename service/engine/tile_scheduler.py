"""Runs a graph on images of any size, tile by tile. Concurrent requests take turns after each tile.

`tile_grid` computes the positions of the tiles.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal

import numpy as np

from service.engine.queue import DEFAULT_OPTIONS, PriorityQueue, QueueOptions
from service.engine.scheduler import Batch, BatchResult, InferenceError, Run, RunHooks
from service.engine.tile_grid import Grid, Span, Tile
from service.errors import ImageTooLarge, QueueTimeout
from service.runtime.session import MappedOutputs
from service.runtime.tensors import crop_images
from service.types import Array, Crop

Lane = Literal["tiles", "small"]
RunWithMap = Callable[..., MappedOutputs]
"""Runs a graph as `Run` does, and returns its second output, too."""

FAST_LANE_PIXELS = 1 << 16  # pixels of an image that is run in the lane "small"
SPLIT_PIXELS = 1 << 17  # pixels per runner for which a lone image is split; the overlap is then at most about a fourth
POOLED_PIXELS = 1 << 18  # pixels of a tile whose memory onnxruntime keeps; allocating it again would take 5 % longer


@dataclass(slots=True, eq=False)
class ImageJob:
    """One request: its image (1,H,W,C), the output so far, and the tiles that have not started.

    `remaining` is the number of tiles that have not finished. `started_at` is 0 until the first tile starts. `controls`
    are the values of the graph's controls, float32 (1, controls). `noise_map` is the second output so far, float32
    (1, h, w). `timer` ends the request when its time in the queue is over. It is None if that time is not limited.
    """

    image: Array
    output: Array
    tiles: deque[Tile]
    remaining: int
    future: "asyncio.Future[None]"
    priority: int
    controls: Array | None = None
    noise_map: Array | None = None
    started_at: float = 0.0
    timer: asyncio.TimerHandle | None = None

    def expire(self) -> None:
        """Fail the request, because it has waited too long."""
        if not self.future.done():
            self.future.set_exception(QueueTimeout("the request has waited longer than its timeout"))


class TileScheduler:
    """Runs a graph on images of any size, up to `runners` tiles at once in `pool`.

    Requests take turns: each starts one tile, then the next request starts one. If no other image is queued, an image
    is split for all runners, even if one tile could hold it. Images of at most `fast_lane_pixels` have an additional
    slot, so that they do not wait for tiles of large images. `run_with_map` replaces `run` for a graph with a second
    output, which has one number for each cell of the grid's stride. That output is exact in tiles, too. With `crops`,
    both take the pixels of their output to leave out as a keyword `crop`. With `tiled` false, an image is run as a
    whole, and one that is larger than a tile of the grid is rejected.
    """

    def __init__(
        self,
        run: Run,
        *,
        grid: Grid,
        pool: Executor,
        runners: int = 1,
        fast_lane_pixels: int = FAST_LANE_PIXELS,
        hooks: RunHooks | None = None,
        run_with_map: RunWithMap | None = None,
        crops: bool = False,
        tiled: bool = True,
    ) -> None:
        self._run = run
        self._run_with_map = run_with_map
        self._grid = grid
        self._pool = pool
        self._runners = runners
        self._fast_lane_pixels = fast_lane_pixels
        self._hooks = hooks or RunHooks()
        self._crops = crops
        self._tiled = tiled
        self._free_slots: dict[Lane, int] = {"tiles": runners, "small": 1}
        self._queues: dict[Lane, PriorityQueue[ImageJob]] = {"tiles": PriorityQueue(), "small": PriorityQueue()}
        self._ran_large_tile = False
        self.running: set[asyncio.Future[Any]] = set()
        self.completed = 0

    def submission_groups(self, arrays: Sequence[Array]) -> Sequence[Sequence[Array]]:
        """Return groups of `runners` single images, so that a request with many images has no more turns than that."""
        images = [array[index : index + 1] for array in arrays for index in range(len(array))]
        return [images[start : start + self._runners] for start in range(0, len(images), self._runners)]

    async def submit(
        self, image: Array, controls: Array | None = None, options: QueueOptions = DEFAULT_OPTIONS
    ) -> BatchResult:
        """Queue an image (1,H,W,C) and return its output of the same shape and dtype.

        `controls` are the values of the graph's controls, float32 (1, controls). If the caller is cancelled, the tiles
        that have not started are not run. Raises InferenceError, QueueTimeout, and ImageTooLarge for a model that is
        not tiled.
        """
        loop = asyncio.get_running_loop()
        enqueued_at = perf_counter()
        _, height, width, _ = image.shape
        lane: Lane = "small" if height * width <= self._fast_lane_pixels else "tiles"
        tiles = self._plan_tiles(height, width)
        output = np.empty(image.shape, image.dtype)
        job = ImageJob(image, output, deque(tiles), len(tiles), loop.create_future(), options.priority, controls)
        if self._run_with_map:
            stride = self._grid.stride
            job.noise_map = np.empty((1, -(-height // stride), -(-width // stride)), np.float32)
        if options.timeout is not None:
            job.timer = loop.call_later(options.timeout, job.expire)
        self._queues[lane].append(job, job.priority)
        self._hooks.on_image(len(tiles))
        self._dispatch(loop, lane)
        await job.future
        run_seconds = perf_counter() - job.started_at
        self._hooks.on_batch(1, run_seconds)
        return BatchResult(
            output,
            queue_seconds=job.started_at - enqueued_at,
            run_seconds=run_seconds,
            batch=Batch(image, output),
            offset=0,
            noise_map=job.noise_map,
        )

    def _plan_tiles(self, height: int, width: int) -> Sequence[Tile]:
        """Return the tiles of an image. If nothing else runs, split a large image so that all runners have a tile.

        Raises ImageTooLarge for a model that is not tiled.
        """
        if not self._tiled:
            return self._whole(height, width)
        tiles = self._grid.tiles(height, width)
        idle = not self._queues["tiles"] and self._free_slots["tiles"] == self._runners
        split_count = min(self._runners, height * width // SPLIT_PIXELS)
        if idle and len(tiles) < split_count:
            return self._grid.split(height, width, split_count)
        return tiles

    def _whole(self, height: int, width: int) -> Sequence[Tile]:
        limit = self._grid.max_tile_pixels
        if height * width > limit:
            raise ImageTooLarge(
                f"the image has {height * width} pixels, but this model cannot work in tiles and has memory for "
                f"{limit}: send a smaller image, or raise HOURGLASS_TILE_MEMORY_MIB"
            )
        return (Tile(Span(0, height, 0, height), Span(0, width, 0, width)),)

    def _dispatch(self, loop: asyncio.AbstractEventLoop, lane: Lane) -> None:
        """Start tiles while slots are free, one of each request in turn."""
        queue = self._queues[lane]
        while queue and self._free_slots[lane]:
            job = queue.turn()[0].popleft().item
            if job.timer:
                job.timer.cancel()
            if job.future.done():  # the request was cancelled, or one of its tiles failed
                self._hooks.on_tiles("dropped", len(job.tiles))
                continue
            tile = job.tiles.popleft()
            if job.tiles:
                queue.append(job, job.priority)
            try:
                running = loop.run_in_executor(self._pool, self._run_tile, job, tile)
            except RuntimeError as error:  # the pool was shut down: fail the request, so that it does not wait forever
                job.future.set_exception(InferenceError(str(error)))
                self._hooks.on_tiles("failed", 1)
                continue
            self._free_slots[lane] -= 1
            self._ran_large_tile = self._ran_large_tile or tile.pixels > POOLED_PIXELS
            self.running.add(running)
            running.add_done_callback(partial(self._on_done, loop, lane, job))

    def _run_tile(self, job: ImageJob, tile: Tile) -> None:
        """Run one tile and copy the pixels to keep into the output. Runs in the pool."""
        start = perf_counter()
        job.started_at = job.started_at or start
        rows = tile.rows
        columns = tile.columns
        source = np.ascontiguousarray(
            job.image[:, rows.read_start : rows.read_stop, columns.read_start : columns.read_stop]
        )
        result = self._run_graph(job, tile, source)
        target = job.output[:, rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop]
        expected = target.shape if self._crops else source.shape
        if result.shape != expected:
            raise InferenceError(f"the graph returned shape {result.shape} instead of {expected}")
        if not self._crops:
            result = crop_images(result, tile.crop)
        target[:] = result
        self._hooks.on_run(target.nbytes, perf_counter() - start)

    def _run_graph(self, job: ImageJob, tile: Tile, source: Array) -> Array:
        """Run the graph on the pixels of a tile, and copy its second output, if any, into the map of the job."""
        options: dict[str, Crop] = {"crop": tile.crop} if self._crops and any(tile.crop) else {}
        if self._run_with_map is None or job.noise_map is None:
            return self._run(source, **options) if job.controls is None else self._run(source, job.controls, **options)
        result = self._run_with_map(source, job.controls, **options)
        rows = _cells_to_keep(tile.rows, self._grid.stride)
        columns = _cells_to_keep(tile.columns, self._grid.stride)
        top = tile.rows.read_start // self._grid.stride
        left = tile.columns.read_start // self._grid.stride
        job.noise_map[:, rows, columns] = result.maps[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        return result.outputs

    def _on_done(
        self, loop: asyncio.AbstractEventLoop, lane: Lane, job: ImageJob, running: "asyncio.Future[None]"
    ) -> None:
        self.running.discard(running)
        self.completed += 1
        self._free_slots[lane] += 1
        error = asyncio.CancelledError() if running.cancelled() else running.exception()
        job.remaining -= 1
        self._hooks.on_tiles("failed" if error else "run", 1)
        if not job.future.done():
            if error:
                job.future.set_exception(InferenceError(f"{type(error).__name__}: {error}"))
            elif not job.remaining:
                job.future.set_result(None)
        self._dispatch(loop, lane)
        idle = self._free_slots == {"tiles": self._runners, "small": 1}
        if self._ran_large_tile and idle:
            self._ran_large_tile = False
            with suppress(RuntimeError):  # the pool was shut down: the process is about to end
                loop.run_in_executor(self._pool, self._hooks.release_memory)


def _cells_to_keep(span: Span, stride: int) -> slice:
    """Return the cells of `stride` pixels that a tile keeps. Tiles are cut at multiples of the stride."""
    return slice(span.keep_start // stride, -(-span.keep_stop // stride))

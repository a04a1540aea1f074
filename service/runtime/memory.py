"""Chooses the bounds on work in flight so that a worker stays within the memory of its container."""

from dataclasses import dataclass

BASE_BYTES = 200 << 20  # of a worker with its models, before the first request
USABLE_SHARE = 0.85  # of the limit; the rest is for what the bounds do not count
BYTES_PER_DECODED_BYTE = 5.5  # peak memory of a request per byte of its decoded input, apart from the tiles
MIN_TILE_BYTES = 16 << 20  # per core; smaller tiles waste most of their time on overlap
MAX_TILE_SHARE = 0.15  # of the memory above `BASE_BYTES`


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The bounds of one worker. `strict`: a request above `inflight_bytes` is rejected even if it is alone."""

    inflight_bytes: int
    tile_bytes: int
    strict: bool


def plan_memory(limit: int | None, *, workers: int, inflight_bytes: int, tile_bytes: int) -> MemoryPlan:
    """Return the bounds of each of `workers` that share `limit` bytes; without a limit they are those of the arguments.

    `inflight_bytes` and `tile_bytes` are the bounds per worker by the settings. They are never exceeded.
    """
    if limit is None:
        return MemoryPlan(inflight_bytes, tile_bytes, strict=False)
    free = max(0, int(USABLE_SHARE * limit / workers) - BASE_BYTES)
    tiles = min(tile_bytes, max(MIN_TILE_BYTES, int(MAX_TILE_SHARE * free)))
    inflight = min(inflight_bytes, max(1, int((free - tiles) / BYTES_PER_DECODED_BYTE)))
    return MemoryPlan(inflight, tiles, strict=inflight < inflight_bytes)


def max_workers(limit: int | None) -> int | None:
    """Return how many workers have room for the smallest work within `limit` bytes; None if there is no limit."""
    return None if limit is None else max(1, int(USABLE_SHARE * limit) // (BASE_BYTES + 4 * MIN_TILE_BYTES))

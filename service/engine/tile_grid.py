"""A large picture -> overlapping tiles -> the same pixels as in one piece.

An output pixel sees no further than a model's receptive radius, and a shift by its stride shifts its answer. So a tile
that begins at a multiple of the stride answers as the whole picture would, except nearer to a cut than the radius.
Knows sides of pictures only.
"""

from dataclasses import dataclass
from functools import lru_cache

EXTRA_COLUMNS = 4  # numbers of columns that are tried for a number of rows, where tiles run side by side


@dataclass(frozen=True, slots=True)
class Span:
    """Of one side of a picture, in pixels: what a tile reads, and the part of it whose answers are kept."""

    read_start: int
    read_stop: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True, slots=True)
class Tile:
    """What is read, and which of it is kept, along both sides."""

    rows: Span
    columns: Span

    @property
    def pixels(self) -> int:
        """That are read."""
        return (self.rows.read_stop - self.rows.read_start) * (self.columns.read_stop - self.columns.read_start)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a model's pictures are cut: its receptive radius and stride, the most pixels of a tile, and tiles at once."""

    radius: int
    stride: int
    max_tile_pixels: int
    concurrency: int = 1

    def tiles(self, height: int, width: int) -> tuple[Tile, ...]:
        """In row-major order, as few pixels as can be until the last of them is run; one tile where it holds all."""
        return _tiles(self, height, width)

    def split(self, height: int, width: int, count: int) -> tuple[Tile, ...]:
        """A picture cut along its longer side, so that `count` runs side by side share it."""
        margin = _round_up(self.radius, self.stride)
        longer, shorter = max(height, width), min(height, width)
        along = _spans(longer, _tile_length(longer, count, margin, self.stride), margin, self.stride)
        (across,) = _spans(shorter, shorter, margin, self.stride)
        return tuple(Tile(span, across) if height >= width else Tile(across, span) for span in along)


@lru_cache(maxsize=64)
def _tiles(grid: Grid, height: int, width: int) -> tuple[Tile, ...]:
    """For every number of rows the fewest columns that keep tiles small enough, or a few more; the cheapest of all."""
    stride, margin = grid.stride, _round_up(grid.radius, grid.stride)
    narrowest = 2 * margin + stride
    best = _spans(height, height, margin, stride), _spans(width, width, margin, stride)
    if _max_tile_pixels(*best) <= grid.max_tile_pixels:
        return (Tile(best[0][0], best[1][0]),)
    least: tuple[bool, int, int] | None = None  # whether tiles are too large after all, pixels, tiles
    for count in range(1, height + 1):
        tall = _tile_length(height, count, margin, stride)
        rows = _spans(height, tall, margin, stride)
        room = max(narrowest, grid.max_tile_pixels // tall // stride * stride)
        fewest = len(_spans(width, room, margin, stride))
        for more in range(min(grid.concurrency, EXTRA_COLUMNS)):
            columns = _spans(width, _tile_length(width, fewest + more, margin, stride), margin, stride)
            cost = (
                _max_tile_pixels(rows, columns) > grid.max_tile_pixels,
                _padded_pixels(grid, rows, columns),
                len(rows) * len(columns),
            )
            if least is None or cost < least:
                best, least = (rows, columns), cost
        too_many = least is not None and _total_read_length(rows) * _total_read_length(best[1]) > 1.5 * least[1]
        if tall <= narrowest or (least is not None and not least[0] and (fewest == 1 or too_many)):
            break
    return tuple(Tile(row, column) for row in best[0] for column in best[1])


def _padded_pixels(grid: Grid, rows: list[Span], columns: list[Span]) -> int:
    """That are read, or could be until the last tile is done: whoever has no tile at the end waits."""
    rounds = -(-len(rows) * len(columns) // grid.concurrency)
    return max(
        _total_read_length(rows) * _total_read_length(columns),
        rounds * grid.concurrency * _max_tile_pixels(rows, columns),
    )


def _max_tile_pixels(rows: list[Span], columns: list[Span]) -> int:
    return max(map(_read_length, rows)) * max(map(_read_length, columns))


def _read_length(span: Span) -> int:
    return span.read_stop - span.read_start


def _total_read_length(spans: list[Span]) -> int:
    return sum(map(_read_length, spans))


def _tile_length(length: int, count: int, margin: int, stride: int) -> int:
    """Pixels that each of `count` tiles must read to cover a side; whole strides."""
    if count == 1:
        return _round_up(length, stride)
    return max(2 * margin + stride, _round_up(-(-(length + 2 * margin * (count - 1)) // count), stride))


def _spans(length: int, most: int, margin: int, stride: int) -> list[Span]:
    """As few as cover a side with tiles of at most `most` pixels, all of one size; each begins at whole strides."""
    count = 1 if length <= most else -(-(length - 2 * margin) // (most - 2 * margin))
    extent = _tile_length(length, count, margin, stride)
    starts = [0]
    while starts[-1] + extent < length:
        starts.append(min(starts[-1] + extent - 2 * margin, _round_up(length - extent, stride)))
    cuts = [0, *(start + margin for start in starts[1:]), length]
    return [
        Span(start, min(start + extent, length), first, last)
        for start, first, last in zip(starts, cuts, cuts[1:], strict=False)
    ]


def _round_up(length: int, stride: int) -> int:
    return -(-length // stride) * stride

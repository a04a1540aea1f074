"""Splits an image into overlapping tiles such that the tiles give the same pixels as the whole image.

This is the overlap-tile strategy (Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015). An output pixel depends on the
input within the receptive radius of the model, and shifting the input by the stride shifts the output. So a tile that
starts at a multiple of the stride gives the same output as the whole image, except within the radius of a cut.
All lengths and positions are in pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from service.types import Crop

EXTRA_COLUMNS = 4  # column counts to try for each row count, if several tiles run at once
MAX_OVERLAP = 1.5  # stop the search when more rows would read this many times the pixels of the best layout


@dataclass(frozen=True, slots=True)
class Span:
    """Extent of a tile along one axis of the image: the pixels to read and, within these, the output pixels to keep."""

    read_start: int
    read_stop: int
    keep_start: int
    keep_stop: int

    @property
    def read_length(self) -> int:
        """Number of pixels to read."""
        return self.read_stop - self.read_start


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile: its extents along both axes of the image."""

    rows: Span
    columns: Span

    @property
    def pixels(self) -> int:
        """Number of pixels to read."""
        return self.rows.read_length * self.columns.read_length

    @property
    def crop(self) -> Crop:
        """The pixels of the output that are not kept."""
        rows, columns = self.rows, self.columns
        return (
            rows.keep_start - rows.read_start,
            columns.keep_start - columns.read_start,
            rows.read_stop - rows.keep_stop,
            columns.read_stop - columns.keep_stop,
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """Computes the tiles of images for a model with receptive radius `radius` and stride `stride`.

    A tile reads at most `max_tile_pixels`, unless the radius requires more. `concurrency` is the number of tiles that
    run at once.
    """

    radius: int
    stride: int
    max_tile_pixels: int
    concurrency: int = 1

    def tiles(self, height: int, width: int) -> tuple[Tile, ...]:
        """Return the tiles of an image in row-major order; one tile if the image fits.

        Among the layouts that were tried, this one has the shortest time, measured in pixels read.
        """
        return _tiles(self, height, width)

    def split(self, height: int, width: int, count: int) -> tuple[Tile, ...]:
        """Split an image along its longer axis into `count` tiles, to run them at once."""
        margin = _round_up(self.radius, self.stride)
        longer = max(height, width)
        shorter = min(height, width)
        along = _spans(longer, _tile_length(longer, count, margin, self.stride), margin, self.stride)
        (across,) = _spans(shorter, shorter, margin, self.stride)
        return tuple(Tile(span, across) if height >= width else Tile(across, span) for span in along)


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """One way to split an image. Layouts compare by cost: size limit, then padded pixels, then number of tiles."""

    too_large: bool
    """Whether a tile exceeds `max_tile_pixels`."""
    padded_pixels: int
    """Pixels read, counting runners that are idle in the last round as if they read a tile."""
    tile_count: int
    rows: list[Span] = field(compare=False)
    columns: list[Span] = field(compare=False)


@lru_cache(maxsize=64)
def _tiles(grid: Grid, height: int, width: int) -> tuple[Tile, ...]:
    margin = _round_up(grid.radius, grid.stride)
    (row,) = _spans(height, height, margin, grid.stride)
    (column,) = _spans(width, width, margin, grid.stride)
    whole = Tile(row, column)
    if whole.pixels <= grid.max_tile_pixels:
        return (whole,)
    layout = _best_layout(grid, height, width)
    return tuple(Tile(row, column) for row in layout.rows for column in layout.columns)


def _best_layout(grid: Grid, height: int, width: int) -> Layout:
    """Try increasing numbers of rows and return the layout with the lowest cost.

    For each number of rows, try the fewest columns that keep the tiles small enough, and a few more columns.
    """
    stride = grid.stride
    margin = _round_up(grid.radius, stride)
    min_length = 2 * margin + stride
    best: Layout | None = None
    for row_count in range(1, height + 1):
        tile_height = _tile_length(height, row_count, margin, stride)
        rows = _spans(height, tile_height, margin, stride)
        max_tile_width = max(min_length, grid.max_tile_pixels // tile_height // stride * stride)
        min_columns = len(_spans(width, max_tile_width, margin, stride))
        candidates = list(_candidates(grid, rows, width, min_columns))
        best = min(candidates if best is None else [best, *candidates])  # the first of equal layouts
        if tile_height <= min_length:
            break
        min_pixels = _total_read_length(rows) * _total_read_length(best.columns)
        if not best.too_large and (min_columns == 1 or min_pixels > MAX_OVERLAP * best.padded_pixels):
            break
    if best is None:
        raise ValueError("the image has no pixels")
    return best


def _candidates(grid: Grid, rows: list[Span], width: int, min_columns: int) -> Iterator[Layout]:
    margin = _round_up(grid.radius, grid.stride)
    max_height = _max_read_length(rows)
    total_height = _total_read_length(rows)
    for extra in range(min(grid.concurrency, EXTRA_COLUMNS)):
        columns = _spans(width, _tile_length(width, min_columns + extra, margin, grid.stride), margin, grid.stride)
        tile_count = len(rows) * len(columns)
        tile_pixels = max_height * _max_read_length(columns)
        rounds = -(-tile_count // grid.concurrency)
        yield Layout(
            too_large=tile_pixels > grid.max_tile_pixels,
            padded_pixels=max(total_height * _total_read_length(columns), rounds * grid.concurrency * tile_pixels),
            tile_count=tile_count,
            rows=rows,
            columns=columns,
        )


def _max_read_length(spans: list[Span]) -> int:
    return max([span.read_stop - span.read_start for span in spans])


def _total_read_length(spans: list[Span]) -> int:
    return sum([span.read_stop - span.read_start for span in spans])


def _tile_length(length: int, count: int, margin: int, stride: int) -> int:
    """Return the length that each of `count` tiles must read to cover `length`, as a multiple of the stride."""
    if count == 1:
        return _round_up(length, stride)
    return max(2 * margin + stride, _round_up(-(-(length + 2 * margin * (count - 1)) // count), stride))


def _spans(length: int, max_length: int, margin: int, stride: int) -> list[Span]:
    """Cover `length` with as few tiles as possible that read at most `max_length`, all of about the same length.

    Each tile starts at a multiple of the stride and overlaps the next by at least `2 * margin`.
    """
    count = 1 if length <= max_length else -(-(length - 2 * margin) // (max_length - 2 * margin))
    tile_length = _tile_length(length, count, margin, stride)
    starts = [0]
    while starts[-1] + tile_length < length:
        starts.append(min(starts[-1] + tile_length - 2 * margin, _round_up(length - tile_length, stride)))
    cuts = [0, *(start + margin for start in starts[1:]), length]
    return [
        Span(start, min(start + tile_length, length), keep_start, keep_stop)
        for start, keep_start, keep_stop in zip(starts, cuts, cuts[1:], strict=False)
    ]


def _round_up(length: int, stride: int) -> int:
    return -(-length // stride) * stride

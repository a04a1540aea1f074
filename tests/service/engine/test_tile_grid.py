"""Tile grids: for any size, the stitched output equals the output for the whole picture."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.engine.tile_grid import Grid, Tile

RADIUS, STRIDE = 7, 4
Pixels = NDArray[np.uint8]


def net(picture: Pixels) -> Pixels:
    """Apply a net in numpy: pad to cells of 4x4 pixels, sum each cell and its neighbours, and add each pixel."""
    height, width = picture.shape[:2]
    padded = np.pad(picture.astype(int), ((0, -height % 4), (0, -width % 4), (0, 0)), mode="edge")
    cells = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 4, 4, 3).sum((1, 3))
    around = np.pad(cells, ((1, 1), (1, 1), (0, 0)))
    rows, columns = cells.shape[:2]
    shifts = [(down, right) for down in range(3) for right in range(3)]
    summed = sum(around[down : down + rows, right : right + columns] * (3 * down + right) for down, right in shifts)
    return ((np.repeat(np.repeat(summed, 4, 0), 4, 1)[:height, :width] + picture) % 251).astype(np.uint8)


def stitched(picture: Pixels, tiles: tuple[Tile, ...]) -> tuple[Pixels, NDArray[np.int_]]:
    """Return the output from tiles, and how often each of its pixels was written."""
    output, written = np.zeros_like(picture), np.zeros(picture.shape[:2], int)
    for tile in tiles:
        rows, columns = tile.rows, tile.columns
        answer = net(picture[rows.read_start : rows.read_stop, columns.read_start : columns.read_stop])
        kept = slice(rows.keep_start, rows.keep_stop), slice(columns.keep_start, columns.keep_stop)
        down, right = rows.keep_start - rows.read_start, columns.keep_start - columns.read_start
        output[kept] = answer[
            down : down + rows.keep_stop - rows.keep_start, right : right + columns.keep_stop - columns.keep_start
        ]
        written[kept] += 1
    return output, written


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(400, 6000), st.integers(1, 5))
@example(1, 1, 400, 1)
@example(140, 1, 400, 2)
@example(21, 139, 441, 1)
def test_stitched_tiles_equal_the_whole_picture(height: int, width: int, pixels: int, at_once: int) -> None:
    picture = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    output, written = stitched(picture, Grid(RADIUS, STRIDE, pixels, at_once).tiles(height, width))
    assert (written == 1).all()
    assert (output == net(picture)).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(1, 5))
@example(1, 1, 5)
@example(30, 8, 5)
def test_stitched_parts_equal_the_whole_picture(height: int, width: int, count: int) -> None:
    picture = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    parts = Grid(RADIUS, STRIDE, 100).split(height, width, count)
    output, written = stitched(picture, parts)
    assert len(parts) <= count
    assert (written == 1).all()
    assert (output == net(picture)).all()


def test_split_returns_requested_number_of_smaller_parts() -> None:
    for height, width in [(512, 700), (700, 512)]:
        parts = Grid(63, 8, 1 << 20).split(height, width, 2)
        assert len(parts) == 2
        assert max(tile.pixels for tile in parts) < 0.65 * height * width


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12_000), st.integers(1, 12_000), st.integers(1 << 16, 1 << 21), st.integers(1, 16))
def test_tiles_start_at_strides_within_the_pixel_limit(height: int, width: int, pixels: int, at_once: int) -> None:
    tiles = Grid(63, 8, pixels, at_once).tiles(height, width)
    assert all(tile.rows.read_start % 8 == tile.columns.read_start % 8 == 0 for tile in tiles)
    assert max(tile.pixels for tile in tiles) <= pixels
    if height * width <= pixels:
        assert len(tiles) <= 2  # rounding to strides may make a picture slightly too large for one tile


def test_too_small_radius_changes_pixels() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    output, _ = stitched(picture, Grid(0, STRIDE, 2000).tiles(100, 100))
    assert (output != net(picture)).any()


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (4000, 3000), (3024, 4032)])
def test_overlap_of_12_megapixels_is_at_most_a_fifth(height: int, width: int) -> None:
    tiles = Grid(63, 8, 950_000).tiles(height, width)
    assert 1 - height * width / sum(tile.pixels for tile in tiles) <= 0.2


def test_tile_count_is_even_for_two_runners() -> None:
    pixels = 1_590_000
    alone, together = (Grid(63, 8, pixels, at_once).tiles(3000, 4000) for at_once in (1, 2))
    assert len(alone) % 2 == 1, "the example must have an odd number of tiles"
    assert len(together) % 2 == 0
    assert sum(tile.pixels for tile in together) < 1.1 * sum(tile.pixels for tile in alone)

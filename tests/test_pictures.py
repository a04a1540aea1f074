"""The sheet of test pictures and answers: its rows are what it says, in order."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes import SIDE, small, vectors
from training.errors import NothingToDraw
from training.evaluation.figures import NOISE_SEED, corrupted
from training.evaluation.picture_grid import COLUMNS, GAP, SMALLEST, draw_pictures

SCALE = SMALLEST // SIDE
CELL = SIDE * SCALE + 2 * GAP


def test_rows_are_clean_given_and_answered(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, corruption={"kind": "gaussian", "sigma": 0.2}, model={"operations": ["denoise"]})
    sheet = np.asarray(Image.open(BytesIO(draw_pictures(recipe, data, {"denoise": lambda items: 255 - items}))))
    count = min(COLUMNS, len(data.test))
    assert sheet.shape[:2] == (3 * CELL, count * CELL)
    given = corrupted(recipe.corruption, data.test[:COLUMNS], NOISE_SEED)
    for row, wanted in enumerate((data.test, given, 255 - given)):
        for column in (0, count - 1):
            cell = sheet[row * CELL + GAP : (row + 1) * CELL - GAP, column * CELL + GAP : (column + 1) * CELL - GAP, 0]
            assert (cell[::SCALE, ::SCALE] == wanted[column, :, :, 0]).all()


def test_vectors_cannot_be_drawn(tmp_path: Path) -> None:
    recipe, data = small(
        tmp_path, vectors(100), net={"family": "dense", "code": 2, "output": "linear"}, objective={"loss": "mse"}
    )
    with pytest.raises(NothingToDraw):
        draw_pictures(recipe, data, {"reconstruct": lambda items: items})

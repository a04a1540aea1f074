"""The grid of test pictures: its rows, in order."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.training import SIDE, small, vectors
from training.errors import NothingToPlot
from training.evaluation.metrics import NOISE_SEED, corrupt
from training.evaluation.picture_grid import COLUMNS, MIN_SIDE, PADDING, sample_grid

SCALE = MIN_SIDE // SIDE
CELL = SIDE * SCALE + 2 * PADDING


def test_grid_rows_are_clean_noisy_and_output(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, corruption={"kind": "gaussian", "sigma": 0.2}, model={"operations": ["denoise"]})
    sheet = np.asarray(Image.open(BytesIO(sample_grid(recipe, data, {"denoise": lambda items: 255 - items}))))
    count = min(COLUMNS, len(data.test))
    assert sheet.shape[:2] == (3 * CELL, count * CELL)
    noisy = corrupt(recipe.corruption, data.test[:COLUMNS], NOISE_SEED)
    for row, expected in enumerate((data.test, noisy, 255 - noisy)):
        for column in (0, count - 1):
            cell = sheet[
                row * CELL + PADDING : (row + 1) * CELL - PADDING,
                column * CELL + PADDING : (column + 1) * CELL - PADDING,
                0,
            ]
            assert (cell[::SCALE, ::SCALE] == expected[column, :, :, 0]).all()


def test_vectors_have_no_picture_grid(tmp_path: Path) -> None:
    recipe, data = small(
        tmp_path,
        vectors(100),
        net={"family": "dense", "code": 2, "output": "linear", "normalize": "none"},
        objective={"loss": "mse"},
    )
    with pytest.raises(NothingToPlot):
        sample_grid(recipe, data, {"reconstruct": lambda items: items})

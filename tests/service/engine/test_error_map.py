"""Error maps: smoothed errors against scipy, colours against matplotlib, contributions of columns."""

import matplotlib as mpl
import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from service.card import Card, read_card
from service.engine import error_map
from service.errors import ImageTooLarge
from tests.support.tiny_models import publish


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """Return the card of a model of vectors (3,) with two columns, one of them of two categories."""
    columns = [
        {"name": "age", "kind": "number"},
        {"name": "colour", "kind": "category", "categories": ["red", "blue"]},
    ]
    folder = publish(tmp_path_factory.mktemp("models"), "points", format=2, columns=columns)
    return read_card((folder / "card.json").read_bytes())


def test_map_is_the_smoothed_root_of_the_squared_error() -> None:
    random = np.random.default_rng(0)
    inputs, output = random.integers(0, 256, (2, 200, 150, 3), np.uint8)
    squared = np.square((inputs.astype(float) - output) / 255).mean(2)
    for _ in range(3):
        squared = uniform_filter(squared, 7, mode="nearest")
    np.testing.assert_allclose(error_map.error_map(inputs, output), np.sqrt(squared), rtol=1e-3)


def test_map_is_largest_where_the_image_differs() -> None:
    inputs = np.zeros((90, 60, 1), np.uint8)
    output = inputs.copy()
    output[40:50, 10:20] = 200
    row, column = np.unravel_index(error_map.error_map(inputs, output).argmax(), (90, 60))
    assert 40 <= row < 50
    assert 10 <= column < 20


def test_map_of_a_very_large_image_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_map, "MAX_MAP_PIXELS", 99)
    with pytest.raises(ImageTooLarge, match="omit map"):
        error_map.error_map(np.zeros((10, 10, 1), np.uint8), np.zeros((10, 10, 1), np.uint8))


def test_colours_are_those_of_inferno(points: Card) -> None:
    expected = mpl.colormaps["inferno"](np.arange(256))[:, :3] * 255
    assert np.abs(error_map._colours() - expected).max() <= 2
    image = np.full((1, 2, 3), 100, np.uint8)
    dark, bright = error_map.overlay(np.array([[0, 1e9]], np.float32), image, points)[0].astype(int)
    assert bright.sum() > dark.sum()
    assert (np.abs(dark - 85) <= 1).all()  # 15 % of black over the gray of the image


def test_contributions_add_up_the_features_of_a_column(points: Card) -> None:
    shares = error_map.contributions(np.array([1.0, 2.0, 0.0], np.float32), np.zeros(3, np.float32), points)
    assert list(shares.items()) == [("colour", pytest.approx(0.8)), ("age", pytest.approx(0.2))]

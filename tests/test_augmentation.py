"""Augmentation: squares from the pictures themselves, in all eight ways, drawn from the run's generator alone."""

import pytest
import torch
from torch import Generator, Tensor

from training.augmentation import Augmentation
from training.errors import RecipeError


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numbered(count: int = 8, side: int = 12) -> Tensor:
    """Pictures whose every number is another."""
    return torch.arange(count * 3 * side * side, dtype=torch.float32).view(count, 3, side, side) / (count * 3 * side**2)


def test_without_a_table_nothing_is_done() -> None:
    clean = numbered()
    assert Augmentation()(clean, seeded()) is clean


def test_the_same_generator_gives_the_same_pictures() -> None:
    change = Augmentation(crop=5, flips=True, grayscale=0.5, random_downscale=0.5)
    first, again, other = (change(numbered(), seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_crop_is_a_square_of_the_picture() -> None:
    clean = numbered()
    for whole, square in zip(clean, Augmentation(crop=5)(clean, seeded()), strict=True):
        windows = whole.unfold(1, 5, 1).unfold(2, 5, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert (windows == square).flatten(1).all(1).sum() == 1


def test_all_eight_ways_come_and_no_other() -> None:
    item = numbered(1)
    ways = [item[0].rot90(turn, (1, 2)) for turn in range(4)]
    ways += [way.flip(2) for way in ways]
    made = Augmentation(flips=True)(item.expand(200, -1, -1, -1), seeded())
    found = [next(number for number, way in enumerate(ways) if torch.equal(way, one)) for one in made]
    assert set(found) == set(range(8))


def test_what_is_shrunk_shows_more_of_the_picture_and_keeps_its_mean() -> None:
    rows = torch.linspace(0.2, 0.8, 40).view(1, 1, 40, 1).expand(64, 3, 40, 40)
    made = Augmentation(crop=10, random_downscale=0.999)(rows, seeded())
    heights = made[:, 0, -1, 5] - made[:, 0, 0, 5]
    assert made.shape[2:] == (10, 10)
    assert heights.max() > 3 * heights.min()  # from the crop's own side up to the whole picture's
    assert 0.4 < made.mean() < 0.6


def test_grey_is_the_luma_in_all_channels() -> None:
    clean = numbered(50)
    made = Augmentation(grayscale=0.5)(clean, seeded())
    grey = (made == made[:, :1]).flatten(1).all(1)
    assert 10 < grey.sum() < 40
    luma = 0.299 * clean[:, 0] + 0.587 * clean[:, 1] + 0.114 * clean[:, 2]
    assert torch.allclose(made[grey][:, 0], luma[grey])
    assert torch.equal(made[~grey], clean[~grey])


@pytest.mark.parametrize(
    ("change", "shape", "said"),
    [
        (Augmentation(flips=True), (4, 7), "vectors"),
        (Augmentation(crop=9), (4, 1, 8, 30), "8 pixels"),
        (Augmentation(flips=True), (4, 1, 8, 30), "squares"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_mend(change: Augmentation, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        change(torch.zeros(shape), seeded())

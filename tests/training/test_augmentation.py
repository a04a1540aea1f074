"""Augmentation: crops, flips and colours, with randomness from the generator of the run only."""

import pytest
import torch
from torch import Generator, Tensor

from training.augmentation import Augmentation, adjust_colors
from training.errors import RecipeError
from training.imaging.colour import srgb_to_linear


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numbered(count: int = 8, side: int = 12) -> Tensor:
    """Return pictures with distinct values."""
    return torch.arange(count * 3 * side * side, dtype=torch.float32).view(count, 3, side, side) / (count * 3 * side**2)


def test_empty_augmentation_changes_nothing() -> None:
    clean = numbered()
    assert Augmentation()(clean, seeded()) is clean


def test_augmentation_is_reproducible() -> None:
    change = Augmentation(
        crop=5,
        flips=True,
        grayscale=0.5,
        random_downscale=0.5,
        saturation=(0.5, 2),
        gain=(0.8, 1.2),
        graphics=0.5,
        jpeg=0.5,
        blur=0.5,
    )
    first, again, other = (change(numbered(), seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_crop_is_a_square_of_the_picture() -> None:
    clean = numbered()
    for whole, square in zip(clean, Augmentation(crop=5)(clean, seeded()), strict=True):
        windows = whole.unfold(1, 5, 1).unfold(2, 5, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert (windows == square).flatten(1).all(1).sum() == 1


def test_flips_give_the_eight_symmetries() -> None:
    item = numbered(1)
    ways = [item[0].rot90(turn, (1, 2)) for turn in range(4)]
    ways += [way.flip(2) for way in ways]
    flipped = Augmentation(flips=True)(item.expand(200, -1, -1, -1), seeded())
    indices = [next(number for number, way in enumerate(ways) if torch.equal(way, one)) for one in flipped]
    assert set(indices) == set(range(8))


def test_downscaled_crop_shows_more_and_keeps_the_mean() -> None:
    rows = torch.linspace(0.2, 0.8, 40).view(1, 1, 40, 1).expand(64, 3, 40, 40)
    crops = Augmentation(crop=10, random_downscale=0.999)(rows, seeded())
    heights = crops[:, 0, -1, 5] - crops[:, 0, 0, 5]
    assert crops.shape[2:] == (10, 10)
    assert heights.max() > 3 * heights.min()  # from the side of the crop up to that of the whole picture
    assert 0.4 < crops.mean() < 0.6


def test_blur_softens_its_share_of_pictures() -> None:
    noise = torch.rand(400, 3, 16, 16, generator=seeded(3))
    changed = Augmentation(blur=0.25, blur_sigma=(0.8, 0.8))(noise, seeded())
    contrast = changed.std((1, 2, 3)) / noise.std((1, 2, 3))
    blurred = contrast < 0.9
    assert 70 <= blurred.sum() <= 130
    assert torch.equal(changed[~blurred], noise[~blurred])
    # white noise keeps 1 / (4 pi sigma^2) of its variance under a Gaussian
    assert abs(contrast[blurred].mean() - (4 * torch.pi * 0.64) ** -0.5) < 0.02


def test_grayscale_is_luma_in_all_channels() -> None:
    clean = numbered(50)
    output = Augmentation(grayscale=0.5)(clean, seeded())
    grey = (output == output[:, :1]).flatten(1).all(1)
    assert 10 < grey.sum() < 40
    luma = 0.299 * clean[:, 0] + 0.587 * clean[:, 1] + 0.114 * clean[:, 2]
    assert torch.allclose(output[grey][:, 0], luma[grey])
    assert torch.equal(output[~grey], clean[~grey])


def test_saturation_scales_chroma_and_keeps_luma() -> None:
    pictures = torch.rand(4, 3, 6, 6, generator=seeded()) * 0.2 + 0.4
    saturated = adjust_colors(pictures, torch.full((4, 1, 1, 1), 1.5), torch.ones(4, 3, 1, 1))
    before, after = srgb_to_linear(pictures), srgb_to_linear(saturated)
    luma = torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)
    greys = [(linear * luma).sum(1, keepdim=True) for linear in (before, after)]
    assert torch.allclose(greys[0], greys[1], atol=1e-5)
    assert torch.allclose(after - greys[1], 1.5 * (before - greys[0]), atol=1e-5)


def test_gain_multiplies_linear_light_per_channel() -> None:
    pictures = torch.rand(4, 3, 6, 6, generator=seeded()) * 0.5
    gain = torch.tensor([0.9, 1.0, 1.1]).view(1, 3, 1, 1).expand(4, -1, -1, -1)
    brighter = adjust_colors(pictures, torch.ones(4, 1, 1, 1), gain)
    assert torch.allclose(srgb_to_linear(brighter), srgb_to_linear(pictures) * gain, atol=1e-5)


def test_colour_changes_leave_grey_pictures_grey() -> None:
    grey = torch.rand(5, 1, 6, 6, generator=seeded()).expand(-1, 3, -1, -1)
    changed = Augmentation(saturation=(2, 2), gain=(0.5, 1.5))(grey, seeded())
    assert (changed == changed[:, :1]).all()
    assert not torch.allclose(changed, grey)


def test_graphics_replace_their_share_of_pictures() -> None:
    photograph = torch.full((60, 3, 40, 40), 0.4) + 0.1 * torch.rand(60, 3, 40, 40, generator=seeded())
    shown = Augmentation(crop=32, graphics=0.5)(photograph, seeded())
    drawn = (shown.flatten(1).amax(1) > 0.5) | (shown.flatten(1).amin(1) < 0.4)
    assert 15 < drawn.sum() < 45
    assert shown.shape == (60, 3, 32, 32)
    assert 0 <= shown.min() <= shown.max() <= 1


def test_jpeg_slightly_changes_its_share_of_pictures() -> None:
    pictures = numbered(40, 24)
    changes = (Augmentation(jpeg=0.5)(pictures, seeded()) - pictures).abs().flatten(1).amax(1)
    assert 8 < (changes > 0).sum() < 32
    assert changes.max() < 0.1


@pytest.mark.parametrize(
    ("change", "shape", "said"),
    [
        (Augmentation(flips=True), (4, 7), "vectors"),
        (Augmentation(crop=9), (4, 1, 8, 30), "8 pixels"),
        (Augmentation(flips=True), (4, 1, 8, 30), "square images"),
        (Augmentation(graphics=0.1), (4, 3, 8, 8), "crop"),
    ],
)
def test_invalid_augmentation_is_rejected_with_the_remedy(
    change: Augmentation, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        change(torch.zeros(shape), seeded())

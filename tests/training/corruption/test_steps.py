"""The steps of the noise of photographs, against other libraries and against loops over pixels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor

from training.imaging import colour, mosaic
from training.imaging.compression import jpeg_round_trip
from training.imaging.draws import log_uniform, uniform
from training.imaging.smoothing import blur, unit_deviation


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=seeded(5))


@pytest.mark.parametrize(("srgb", "linear"), [(0.0, 0.0), (0.04, 0.0030960), (0.5, 0.2140411), (1.0, 1.0)])
def test_srgb_curve_equals_the_standard(srgb: float, linear: float) -> None:
    assert colour.srgb_to_linear(torch.tensor(srgb)).item() == pytest.approx(linear, abs=1e-6)
    assert colour.linear_to_srgb(torch.tensor(linear)).item() == pytest.approx(srgb, abs=1e-5)


def test_ycbcr_equals_pillow() -> None:
    pixels = (pictures(1, 3, 16, 16) * 255).round()
    expected = np.asarray(Image.fromarray(pixels[0].byte().permute(1, 2, 0).numpy()).convert("YCbCr"), np.float32)
    ycc = colour.rgb_to_ycc(pixels)
    assert np.abs(ycc[0].permute(1, 2, 0).numpy() + np.array([0, 128, 128]) - expected).max() <= 1
    assert torch.allclose(colour.ycc_to_rgb(ycc), pixels, atol=1e-3)
    assert torch.allclose(colour.luma(pixels), ycc[:, :1], atol=1e-3)


@pytest.mark.parametrize("contrast", [0.8, 1.0, 1.4])
def test_tone_curve_is_monotonic_and_invertible(contrast: float) -> None:
    values, bend = torch.linspace(0, 1, 101), torch.tensor(contrast)
    bent = colour.tone(values, bend)
    assert (bent.diff() > 0).all()
    assert bent[[0, 50, 100]].tolist() == pytest.approx([0, 0.5, 1])
    assert torch.allclose(colour.tone(bent, 1 / bend), values, atol=1e-5)


def test_blur_width_is_per_picture() -> None:
    items, sigmas = pictures(3, 2, 20, 30), [0.4, 1.0, 2.0]
    blurred = blur(items, torch.tensor(sigmas).view(3, 1, 1, 1))
    for item, result, sigma in zip(items, blurred, sigmas, strict=True):
        for channel, plane in zip(item.numpy(), result.numpy(), strict=True):
            assert np.abs(gaussian_filter(channel, sigma, radius=5, mode="mirror") - plane).max() < 1e-5


def test_blur_may_be_anisotropic() -> None:
    item = pictures(1, 1, 20, 30)
    blurred = blur(item, torch.tensor([2.0, 0.5]).view(1, 1, 1, 2))
    expected = gaussian_filter(item[0, 0].numpy(), (2.0, 0.5), radius=(5, 2), mode="mirror")
    assert np.abs(expected - blurred[0, 0].numpy()).max() < 1e-5


def test_zero_width_blur_changes_nothing() -> None:
    items = pictures(2, 3, 8, 8)
    assert torch.equal(blur(items, torch.zeros(2, 1, 1, 1)), items)


def test_fields_have_unit_deviation() -> None:
    assert unit_deviation(pictures(4, 3, 9, 9) * 7).flatten(1).std(1).tolist() == pytest.approx([1.0] * 4)


def test_samples_cover_their_range() -> None:
    plain, logarithmic = uniform((2, 6), 4000, seeded()), log_uniform((0.01, 1), 4000, seeded())
    assert plain.shape == (4000, 1, 1, 1)
    assert (plain.min().item(), plain.mean().item(), plain.max().item()) == pytest.approx((2, 4, 6), abs=0.1)
    assert logarithmic.log10().mean().item() == pytest.approx(-1, abs=0.05)
    assert 0.01 <= logarithmic.min() < 0.011


def test_bayer_pattern_is_half_green_with_random_offset() -> None:
    sites = mosaic.bayer_sites(pictures(100, 3, 8, 8), seeded())
    assert (sites.sum(1) == 1).all()
    assert sites.sum((0, 2, 3)).tolist() == [1600, 3200, 1600]
    assert torch.equal(sites[:, :, 2:, 2:], sites[:, :, :-2, :-2])
    corners = {tuple(site[:, :2, :2].flatten().tolist()) for site in sites}
    assert len(corners) == 4


@pytest.mark.parametrize("method", ["bilinear", "malvar", "edge_directed"])
def test_demosaicing_keeps_samples_and_grey_ramps(method: str) -> None:
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    ramp = (0.1 + 0.02 * rows + 0.01 * columns).expand(6, 3, -1, -1).contiguous()
    sites = mosaic.bayer_sites(ramp, seeded())
    for clean in (ramp, pictures(6, 3, 16, 20)):
        sampled = mosaic.sample(clean, sites)
        guide = [sampled] if method == "edge_directed" else []
        result = getattr(mosaic, method)(sampled, sites, *guide)
        assert torch.allclose(result[sites], clean[sites], atol=1e-6)
        if clean is ramp:
            assert torch.allclose(result[:, :, 3:-3, 3:-3], ramp[:, :, 3:-3, 3:-3], atol=1e-5)


def naive_bilinear(mosaicked: NDArray[np.float32], sites: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the mean of the samples of a colour among a pixel and its eight neighbours (four for green)."""
    _, height, width = sites.shape
    result = np.zeros(sites.shape, np.float32)
    for channel in range(3):
        for row in range(1, height - 1):
            for column in range(1, width - 1):
                if sites[channel, row, column]:
                    result[channel, row, column] = mosaicked[row, column]
                    continue
                around = sites[channel, row - 1 : row + 2, column - 1 : column + 2]
                result[channel, row, column] = mosaicked[row - 1 : row + 2, column - 1 : column + 2][around].mean()
    return result


def test_bilinear_demosaicing_averages_the_nearest_neighbours() -> None:
    clean = pictures(2, 3, 10, 12)
    sites = mosaic.bayer_sites(clean, seeded(1))
    result = mosaic.bilinear(mosaic.sample(clean, sites), sites)
    for number in range(2):
        expected = naive_bilinear(mosaic.sample(clean, sites)[number, 0].numpy(), sites[number].numpy())
        assert np.abs(expected - result[number].numpy())[:, 1:-1, 1:-1].max() < 1e-6


def test_malvar_beats_bilinear_on_grey_detail() -> None:
    detail = blur(pictures(8, 1, 40, 40), torch.full((8, 1, 1, 1), 0.8)).expand(-1, 3, -1, -1).contiguous()
    sites = mosaic.bayer_sites(detail, seeded())
    sampled = mosaic.sample(detail, sites)
    errors = [
        (result - detail).square().mean().item()
        for result in (mosaic.bilinear(sampled, sites), mosaic.malvar(sampled, sites))
    ]
    assert errors[1] < 0.5 * errors[0]


def test_guided_filter_keeps_edges_of_the_guide() -> None:
    stripes = (torch.arange(16) // 4 % 2).float().view(1, 1, 1, 16).expand(2, 3, 16, 16).contiguous()
    sites = mosaic.bayer_sites(stripes, seeded())
    sampled = mosaic.sample(stripes, sites)
    green = mosaic.edge_directed(sampled, sites, sampled)[:, 1]
    assert torch.allclose(green[:, 3:-3, 3:-3], stripes[:, 1, 3:-3, 3:-3], atol=1e-6)


def test_jpeg_at_best_quality_changes_little() -> None:
    smooth = blur(pictures(6, 3, 20, 20), torch.full((6, 1, 1, 1), 2.0))
    assert (jpeg_round_trip(smooth, (100, 100), seeded()) - smooth).abs().max() < 10 / 255
    assert jpeg_round_trip(pictures(2, 3, 3, 5), (50, 90), seeded()).shape == (2, 3, 3, 5)

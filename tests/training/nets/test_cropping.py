"""Cropping of features: the outputs are those of the whole image, without the pixels that are left out."""

import onnx
import pytest
import torch
from torch import Generator, Tensor, nn

from service.runtime.session import Session
from training.export.onnx_graph import ExportModule, export_onnx
from training.nets.conv import Conv, ConvSection
from training.nets.cropping import compose_convolutions

SECTIONS = {
    "no blocks at the finest level": ConvSection(
        widths=[4, 6, 8], code=3, blocks=[[0, 1], [1, 1], [1, 1]], skips=True, any_size=True
    ),
    "blocks everywhere": ConvSection(widths=[4, 6], code=3, blocks=2, skips=True, any_size=True),
    "no blocks": ConvSection(widths=[4, 6], code=3, blocks=[[0, 0], [0, 0]], skips=True, any_size=True, unshuffle=1),
    "one level": ConvSection(widths=[4], code=3, blocks=[[0, 2]], skips=True, any_size=True, unshuffle=4),
    "no skips": ConvSection(widths=[4, 6], code=3, blocks=[[0, 1], [1, 1]], any_size=True),
    "residual": ConvSection(
        widths=[4, 6], code=3, blocks=[[0, 1], [1, 1]], skips=True, any_size=True, residual=True, output="linear"
    ),
    "noise control": ConvSection(
        widths=[4, 6], code=3, blocks=[[0, 1], [1, 1]], skips=True, any_size=True, noise_control=True
    ),
}
CROPS = [(0, 0, 0, 0), (1, 2, 3, 4), (9, 40, 33, 17), (47, 0, 0, 49), (30, 31, 32, 33)]
"""Pixels at the top, left, bottom and right, of images of 83x93 pixels."""


def net_of(section: ConvSection) -> Conv:
    """Return a net with random weights, also where they start at zero."""
    generator = Generator().manual_seed(0)
    net = section.build((3, 16, 16)).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS.keys())
def test_cropped_output_is_a_part_of_the_whole(section: ConvSection, crop: tuple[int, int, int, int]) -> None:
    net = net_of(section)
    x, strengths = images(2, 3, 83, 93), torch.tensor([1.0, 1.7])
    whole = net.denoise(x, strengths)
    top, left, bottom, right = crop
    for form in (net, net.for_inference()):
        part = form.denoise(x, strengths, torch.tensor(crop))
        expected = whole.output[:, :, top : 83 - bottom, left : 93 - right]
        torch.testing.assert_close(part.output, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(part.code, whole.code, rtol=0, atol=1e-4)


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS.keys())
def test_graphs_take_a_crop_and_need_none(section: ConvSection) -> None:
    module = ExportModule(net_of(section), "denoise")
    session = Session(export_onnx(module), free_sizes=True, controls={"strength": 1.0})
    assert session.crops
    batch = (images(2, 83, 93, 3) * 255).to(torch.uint8).numpy()
    whole = session.run(batch).astype(int)
    for top, left, bottom, right in CROPS:
        part = session.run(batch, crop=(top, left, bottom, right))
        expected = whole[:, top : 83 - bottom, left : 93 - right]
        assert part.shape == expected.shape
        assert abs(part - expected).max() <= 1


def test_rows_and_columns_are_cropped_by_one_node() -> None:
    module = ExportModule(net_of(SECTIONS["residual"]), "denoise")
    nodes = onnx.load_from_string(export_onnx(module)).graph.node
    slices = [node for node in nodes if node.op_type == "Slice" and node.input[0] != "crop"]
    assert len(slices) == 4  # of the features, of the folded image, of the prediction and of the image


def test_finest_features_take_no_memory_until_they_are_added() -> None:
    net = net_of(SECTIONS["no blocks at the finest level"])
    assert net.for_inference().stem is not None
    assert net.stem is None
    assert net.for_inference().parameter_count() > net.parameter_count()  # only the copy has it
    assert net_of(SECTIONS["blocks everywhere"]).for_inference().stem is None


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_composed_convolution_is_equal_to_two(padding: int, stride: int) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 5, 3, padding=padding)
    second = nn.Conv2d(5, 4, stride, stride=stride)
    x = images(2, 3, 6 * stride + 2 - 2 * padding, 9 * stride + 2 - 2 * padding)
    torch.testing.assert_close(compose_convolutions(first, second)(x), second(first(x)), rtol=0, atol=1e-5)

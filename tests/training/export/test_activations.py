"""Activations that calibrate int8: ranges and mean products of the inputs of convolutions, against torch's own."""

import numpy as np
import onnx
import pytest
import torch

from training.export import activations as observed_activations
from training.export.activations import Activations, observe
from training.export.int8_graph import int8_convolutions
from training.export.onnx_graph import ExportModule, export_onnx
from training.nets.conv import ConvSection


def test_ranges_hold_zero_and_most_values() -> None:
    values = {"positive": np.linspace(1, 2, 1001), "both": np.linspace(-1, 3, 1001)}
    ranges = Activations(values, {}).ranges(90)
    assert ranges["positive"] == (0, pytest.approx(1.9))
    assert ranges["both"] == pytest.approx((-0.6, 2.6))


def test_observed_inputs_are_those_of_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_VALUES", "MAX_OUTPUTS"):  # so many that chance hardly matters
        monkeypatch.setattr(observed_activations, name, 100_000)
    torch.manual_seed(0)
    section = ConvSection(widths=[2, 3, 4], blocks=[[0, 0], [0, 0], [0, 0]], code=2, skips=True, any_size=True)
    net = section.build((3, 8, 8)).eval()
    model = onnx.load_from_string(export_onnx(ExportModule(net, "denoise")))
    (convolution,) = int8_convolutions(model.graph)  # 2x2 with a stride of 2
    images = [np.full((1, 64, 64, 3), level, np.uint8) for level in (40, 200)]
    images[1][:, ::4] = 9
    seen: list[torch.Tensor] = []
    net.downsample[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for image in images:
            net(torch.from_numpy(np.moveaxis(image, 3, 1) / np.float32(255)))
    activations = observe(model, [convolution], images)
    least, largest = activations.ranges(100)[convolution.input]
    assert least == pytest.approx(min(0, *(float(x.min()) for x in seen)), abs=1e-5)
    assert largest == pytest.approx(max(0, *(float(x.max()) for x in seen)), abs=1e-5)
    expected = np.zeros((12, 12))
    for x in seen:  # squares of 2x2 positions, ordered by channel, row and column
        squares = x[0].unfold(1, 2, 2).unfold(2, 2, 2).permute(1, 2, 0, 3, 4).reshape(-1, 12).double().numpy()
        expected += squares.T @ squares / len(squares) / len(seen)
    assert activations.moments[convolution.name] == pytest.approx(expected, rel=0.05, abs=0.005 * expected.max())

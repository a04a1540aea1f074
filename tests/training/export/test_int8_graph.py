"""Preparation of a graph for int8: same output, whole blocks of channels, rounding errors that cancel."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from service.runtime.session import Session
from training.export.int8_graph import CHANNEL_BLOCK, INT8_MAX, prepare_for_int8, round_preserving_sum
from training.export.onnx_graph import ExportModule, export_onnx
from training.nets.conv import ConvSection

SECTION = ConvSection(widths=[16, 24], code=8, skips=True, any_size=True, residual=True, output="linear")
weights = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.just(3), st.just(3)),
    elements=st.floats(-2, 2, width=16),
)


@given(weights)
def test_rounded_weights_keep_the_channel_sum(array: NDArray[np.float32]) -> None:
    rounded = round_preserving_sum(array)
    for before, after in zip(array.astype(float), rounded, strict=True):
        step = np.abs(before).max() / INT8_MAX
        assert np.abs(after - before).max() <= step * 1.001  # no weight changes by more than a step
        assert abs((after - before).sum()) <= step * 0.501 + 1e-6
        if step > 1e-6:
            assert np.abs(after / step - np.rint(after / step)).max() < 1e-2
            assert np.abs(after).max() == pytest.approx(np.abs(before).max(), rel=1e-5)


def test_rounding_to_nearest_changes_the_channel_sum() -> None:
    array = np.full((1, 3, 3, 3), 0.4 / INT8_MAX, np.float32)
    array[0, 0, 0, 0] = 1
    assert abs((np.rint(array * INT8_MAX) / INT8_MAX - array).sum()) > 10 / INT8_MAX
    assert abs((round_preserving_sum(array) - array).sum()) <= 0.5 / INT8_MAX


def test_prepared_graph_has_fused_blocks_and_same_output() -> None:
    torch.manual_seed(0)
    net = SECTION.build((3, 16, 16)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    plain = export_onnx(ExportModule(net, "denoise"))
    model = onnx.load_from_string(plain)
    assert "MaxPool" in {node.op_type for node in model.graph.node}
    prepare_for_int8(model)
    assert "MaxPool" not in {node.op_type for node in model.graph.node}
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {held[node.input[1]].dims[0] % CHANNEL_BLOCK for node in convolutions} == {0}
    picture = np.random.default_rng(0).integers(0, 256, (1, 21, 18, 3), np.uint8)
    answers = [Session(graph, free_sizes=True).run(picture).astype(int) for graph in (plain, model.SerializeToString())]
    assert 0 < np.abs(answers[0] - answers[1]).mean() < 1

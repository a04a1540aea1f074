"""Graphs whose inner convolutions compute in int8: which ones, what the others read, and the answers."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from training.errors import PublishError
from training.export.channels_last import add_channels_last
from training.export.int8_graph import int8_convolutions, remove_identity_pools
from training.export.onnx_graph import ExportModule, export_onnx
from training.export.quantize import WEIGHT_BITS, quantize
from training.nets.conv import ConvSection

SECTION = ConvSection(
    widths=[16, 24, 24],
    blocks=[[0, 1], [1, 0], [1, 0]],
    code=8,
    skips=True,
    any_size=True,
    residual=True,
    output="linear",
)
IMAGES = [np.random.default_rng(seed).integers(0, 256, (1, 37, 42, 3), np.uint8) for seed in range(4)]


@pytest.fixture(scope="module")
def plain() -> bytes:
    """Return a denoiser whose weights are random, also those that start at zero."""
    torch.manual_seed(0)
    net = SECTION.build((3, 16, 16)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return export_onnx(ExportModule(net, "denoise"))


@pytest.fixture(scope="module")
def int8(plain: bytes) -> bytes:
    return quantize(plain, IMAGES)


def answers(graph: bytes, *, optimized: bool = True) -> NDArray[np.int64]:
    options = ort.SessionOptions()
    if not optimized:  # rounds floats instead of computing in integers
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph, options)
    return np.stack([np.asarray(session.run(None, {"image": image})[0], np.int64) for image in IMAGES])


def test_inner_convolutions_larger_than_1x1_are_chosen(plain: bytes) -> None:
    chosen = [one.weights for one in int8_convolutions(onnx.load_from_string(plain).graph)]
    assert chosen == [
        "net.down.1.0.first.weight",
        "net.down.1.0.second.weight",
        "net.downsample.1.weight",
        "net.down.2.0.first.weight",
        "net.down.2.0.second.weight",
        "net.up.0.0.first.weight",
        "net.up.0.0.second.weight",
    ]


def test_all_else_reads_exact_activations(plain: bytes, int8: bytes) -> None:
    chosen = int8_convolutions(onnx.load_from_string(plain).graph)
    outputs = {f"{one.output}_rounded" for one in chosen}
    others = [node for node in onnx.load_from_string(int8).graph.node if node.op_type in ("Add", "Sub", "Transpose")]
    read = {name for node in others for name in node.input if name.endswith("_rounded")}
    assert read == {f"{one.output}_rounded" for one in chosen if one.weights.endswith("second.weight")} | {
        f"{chosen[2].output}_rounded"
    }
    assert read <= outputs


def test_integers_give_the_answers_of_rounded_floats(plain: bytes, int8: bytes) -> None:
    exact, rounded, integers = answers(plain), answers(int8, optimized=False), answers(int8)
    assert np.abs(integers - rounded).max() <= 2  # a value between two steps may be rounded to either
    assert np.abs(integers - rounded).mean() < np.abs(integers - exact).mean() / 4
    assert 0 < np.abs(integers - exact).mean() < 0.5


def test_kernels_of_integers_are_used(int8: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path_factory.mktemp("graphs") / "optimized.onnx")
    options.log_severity_level = 3  # onnxruntime warns that such a file suits this processor only
    ort.InferenceSession(int8, options)
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kinds.count("QLinearConv") == 7


def test_features_are_added_with_channels_last(plain: bytes) -> None:
    model = onnx.load_from_string(plain)
    remove_identity_pools(model.graph)
    add_channels_last(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert (answers(model.SerializeToString(), optimized=False) == answers(plain, optimized=False)).all()
    sums = [node for node in model.graph.node if node.op_type == "Add" and node.output[0].endswith("_last")]
    assert len(sums) == 3  # of the skip connection of each level, and of the block at the finest
    first = {name for node in model.graph.node if node.op_type == "Transpose" for name in node.output}
    first = {name for name in first if not name.endswith("_last")}
    assert not any(first.intersection(node.input) for node in model.graph.node if node.op_type in ("Add", "Shape"))


def test_nodes_that_no_output_needs_are_removed(int8: bytes) -> None:
    graph = onnx.load_from_string(int8).graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    assert all(read.intersection(node.output) for node in graph.node)


def test_weights_have_seven_bits(int8: bytes) -> None:
    tensors = onnx.load_from_string(int8).graph.initializer
    levels = [onnx.numpy_helper.to_array(tensor) for tensor in tensors if tensor.data_type == onnx.TensorProto.INT8]
    weights = [array for array in levels if array.ndim == 4]
    assert len(weights) == 7
    assert {int(np.abs(array).max()) for array in weights} == {2 ** (WEIGHT_BITS - 1) - 1}


def test_pools_of_one_pixel_are_removed(plain: bytes) -> None:
    model = onnx.load_from_string(plain)
    assert "MaxPool" in {node.op_type for node in model.graph.node}
    remove_identity_pools(model.graph)
    assert "MaxPool" not in {node.op_type for node in model.graph.node}
    assert (answers(model.SerializeToString()) == answers(plain)).all()


def test_net_without_inner_convolutions_is_refused() -> None:
    net = ConvSection(widths=[16], blocks=[[0, 0]], code=8, skips=True, any_size=True).build((3, 16, 16))
    with pytest.raises(PublishError, match=r"no convolution larger than 1x1 .* set model\.int8 = false"):
        quantize(export_onnx(ExportModule(net, "denoise")), IMAGES)

"""Prepares a float32 graph with convolutions for int8 quantization: rounded weights and channels in whole blocks.

The prepared graph computes nearly the same. `quantize` finds the ranges of the activations.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[Any]

CHANNEL_BLOCK = 16
"""Output channels that integer kernels compute at once: 12 channels took four times as long as 16."""
INT8_MAX = 127
"""The integer that stands for the largest absolute weight of a channel."""


def prepare_for_int8(model: onnx.ModelProto) -> None:
    """Change the model in place. The inferred shapes of inner tensors are removed, as they no longer match."""
    _remove_identity_pools(model.graph)
    _pad_channels(model.graph)
    _round_weights(model.graph)
    model.graph.ClearField("value_info")


def round_preserving_sum(weights: Array) -> Array:
    """Round weights (out, in, ...) to int8 steps of each output channel, keeping the sum of each channel.

    Rounding every weight to the nearest step shifts the sum of a channel, and thereby the mean of its output: the
    biased quantization error of Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
    Correction". Inputs such as neighboring pixels are nearly equal, so that the errors add up: those of the first layer
    cost as much as those of all other layers. Instead of correcting the bias, this rounds the weights nearest to the
    middle between two steps the other way, until the errors of the channel sum to at most half a step.

    Returns:
        Multiples of max|w| / INT8_MAX of each channel, in the shape and dtype of `weights`.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    steps = np.abs(rows).max(axis=1, keepdims=True) / INT8_MAX
    scaled = np.divide(rows, steps, out=np.zeros_like(rows), where=steps > 0)
    rounded = np.rint(scaled)
    errors = scaled - rounded  # in -0.5..0.5
    for row, row_errors in zip(rounded, errors, strict=True):
        excess = round(row_errors.sum())
        row[np.argsort(-np.sign(excess) * row_errors, kind="stable")[: abs(excess)]] += np.sign(excess)
    return (np.clip(rounded, -INT8_MAX, INT8_MAX) * steps).reshape(weights.shape).astype(weights.dtype)


def _round_weights(graph: onnx.GraphProto) -> None:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in _convolutions(graph):
        weights = tensors[node.input[1]]
        _set_tensor(weights, round_preserving_sum(onnx.numpy_helper.to_array(weights)))


def _pad_channels(graph: onnx.GraphProto) -> None:
    """Pad the output channels of convolutions with zeros to whole blocks, and slice them off the outputs."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        channels = tensors[node.input[1]].dims[0] if node.op_type == "Conv" else CHANNEL_BLOCK
        if not channels % CHANNEL_BLOCK:
            continue
        for name in node.input[1:]:  # weights, and bias if any
            array = onnx.numpy_helper.to_array(tensors[name])
            _set_tensor(tensors[name], np.pad(array, [(0, -channels % CHANNEL_BLOCK), *[(0, 0)] * (array.ndim - 1)]))
        (output,) = node.output
        node.output[0] = f"{output}_wide"
        limits = {f"{output}_{word}": number for word, number in (("first", 0), ("last", channels), ("axis", 1))}
        graph.initializer.extend(
            onnx.numpy_helper.from_array(np.array([number]), name) for name, number in limits.items()
        )
        nodes.append(onnx.helper.make_node("Slice", [node.output[0], *limits], [output], f"{node.name}_cut"))
    del graph.node[:]
    graph.node.extend(nodes)


def _remove_identity_pools(graph: onnx.GraphProto) -> None:
    """Remove 1x1 max pools, which are identities that help the float kernels only."""
    replacements: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        kernel = [
            number for attribute in node.attribute if attribute.name == "kernel_shape" for number in attribute.ints
        ]
        if node.op_type == "MaxPool" and set(kernel) == {1}:
            replacements[node.output[0]] = node.input[0]
            continue
        node.input[:] = [replacements.get(name, name) for name in node.input]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _convolutions(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for node in graph.node if node.op_type == "Conv")


def _set_tensor(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))

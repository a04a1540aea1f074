"""What a float32 graph is changed to before its numbers become 8-bit integers; what it computes stays as good as equal.

Knows graphs with convolutions, and how integer kernels like them; not how ranges are found (`quantise`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[Any]

CHANNEL_BLOCK = 16
"""Output channels that integer kernels take at once: one with 12 of them ran four times as long as with 16."""
INT8_MAX = 127
"""Of a signed 8-bit weight, from zero to the largest of its channel."""


def prepare_for_int8(model: onnx.ModelProto) -> None:
    """Changes the model in place; shapes inside it are to be inferred anew."""
    _remove_identity_pools(model.graph)
    _pad_channels(model.graph)
    _round_weights(model.graph)
    model.graph.ClearField("value_info")


def round_preserving_sum(weights: Array) -> Array:
    """Weights O,I,... as multiples of each channel's step that miss them by nothing in the sum over the channel.

    Rounded each to the nearest, the errors of a channel add up where its inputs are alike, as neighbouring pixels are:
    a first layer's lost as much as all others together. So those that were nearest to the middle go the other way.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    steps = np.abs(rows).max(axis=1, keepdims=True) / INT8_MAX
    scaled = np.divide(rows, steps, out=np.zeros_like(rows), where=steps > 0)
    rounded = np.rint(scaled)
    missing = scaled - rounded
    for row, miss in zip(rounded, missing, strict=True):
        count = round(miss.sum())
        row[np.argsort(-np.sign(count) * miss, kind="stable")[: abs(count)]] += np.sign(count)
    return (np.clip(rounded, -INT8_MAX, INT8_MAX) * steps).reshape(weights.shape).astype(weights.dtype)


def _round_weights(graph: onnx.GraphProto) -> None:
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in _convolutions(graph):
        _set_tensor(held[node.input[1]], round_preserving_sum(onnx.numpy_helper.to_array(held[node.input[1]])))


def _pad_channels(graph: onnx.GraphProto) -> None:
    """Gives convolutions whole blocks of channels, of zeros, and cuts them from what comes out."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        channels = held[node.input[1]].dims[0] if node.op_type == "Conv" else CHANNEL_BLOCK
        if not channels % CHANNEL_BLOCK:
            continue
        for name in node.input[1:]:
            given = onnx.numpy_helper.to_array(held[name])
            _set_tensor(held[name], np.pad(given, [(0, -channels % CHANNEL_BLOCK), *[(0, 0)] * (given.ndim - 1)]))
        (made,) = node.output
        node.output[0] = f"{made}_wide"
        limits = {f"{made}_{word}": number for word, number in (("first", 0), ("last", channels), ("axis", 1))}
        graph.initializer.extend(
            onnx.numpy_helper.from_array(np.array([number]), name) for name, number in limits.items()
        )
        nodes.append(onnx.helper.make_node("Slice", [node.output[0], *limits], [made], f"{node.name}_cut"))
    del graph.node[:]
    graph.node.extend(nodes)


def _remove_identity_pools(graph: onnx.GraphProto) -> None:
    """Leaves out pools of single pixels, which change nothing (they are there for the kernels of floats)."""
    instead: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        kernel = [
            number for attribute in node.attribute if attribute.name == "kernel_shape" for number in attribute.ints
        ]
        if node.op_type == "MaxPool" and set(kernel) == {1}:
            instead[node.output[0]] = node.input[0]
            continue
        node.input[:] = [instead.get(name, name) for name in node.input]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _convolutions(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for node in graph.node if node.op_type == "Conv")


def _set_tensor(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))

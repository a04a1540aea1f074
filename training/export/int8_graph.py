"""Rewrites a float32 graph so that its convolutions compute in int8, in ONNX's QDQ format, and all else in float32.

Pairs of QuantizeLinear and DequantizeLinear stand before and after each of these convolutions; onnxruntime replaces a
convolution between two pairs by one kernel of integers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[Any]
Range = tuple[float, float]
"""The least and the largest value of an activation that are kept; others are clipped to them."""

ACTIVATION_LEVELS = 255
"""The steps between the ends of a range: activations are uint8."""


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """Weights of a convolution as `levels` int8 (out, in, height, width), times `steps` float32 (out,)."""

    levels: NDArray[np.int8]
    steps: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Int8Convolution:
    """A convolution to compute in int8, with the names of its tensors.

    `output` is what the next nodes read: the output of the activation function if one follows, or else its own.
    """

    node: onnx.NodeProto
    output: str

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.node.name

    @property
    def input(self) -> str:
        """The name of the activations that it reads."""
        return self.node.input[0]

    @property
    def weights(self) -> str:
        """The name of its weights."""
        return self.node.input[1]


def int8_convolutions(graph: onnx.GraphProto) -> list[Int8Convolution]:
    """Return the convolutions to compute in int8: all with kernels larger than 1x1, but those at both ends.

    The others have few products and much influence: those at the ends carry the picture itself, and 1x1 kernels carry
    the features from level to level. A skip connection in 8 bits adds its rounding to every picture, also to those with
    little noise, for which the steps are too large: a range must hold the features of strong noise.
    """
    kernels = {tensor.name: tensor.dims[2:] for tensor in graph.initializer}
    large: list[onnx.NodeProto] = []
    readers: dict[str, list[onnx.NodeProto]] = {}
    features: set[str] = set()  # what depends on the values that a convolution returns
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
        is_after_convolution = not features.isdisjoint(node.input)
        if node.op_type == "Conv" and is_after_convolution and set(kernels[node.input[1]]) != {1}:
            large.append(node)
        if node.op_type == "Conv" or (is_after_convolution and node.op_type != "Shape"):
            features.update(node.output)
    chosen: list[Int8Convolution] = []
    for node in large[:-1]:
        (output,) = node.output
        following = readers.get(output, [])
        is_activated = len(following) == 1 and following[0].op_type == "Relu"
        chosen.append(Int8Convolution(node, following[0].output[0] if is_activated else output))
    return chosen


def insert_int8(
    graph: onnx.GraphProto,
    convolutions: Sequence[Int8Convolution],
    ranges: Mapping[str, Range],
    weights: Mapping[str, Int8Weights],
) -> None:
    """Change the graph in place so that these convolutions read and return uint8 and have int8 weights.

    Args:
        graph: the float32 graph of `convolutions`.
        convolutions: those of `int8_convolutions`.
        ranges: the range of every `input` and `output` of the convolutions.
        weights: the weights by the name of the convolution.
    """
    writer = _Writer(graph, ranges)
    produced = {convolution.output for convolution in convolutions}
    by_name = {convolution.name: convolution for convolution in convolutions}
    nodes = list(graph.node)
    for node in nodes:
        if convolution := by_name.get(node.name):
            writer.add_convolution(convolution, weights[node.name])
        else:
            # Only what a convolution in int8 returns is rounded for other nodes.
            node.input[:] = [writer.rounded[name] if name in produced else name for name in node.input]
            writer.nodes.append(node)
        for name in produced.intersection(node.output):
            writer.round_activation(name)
    del graph.node[:]
    graph.node.extend(writer.nodes)
    _remove_unused_tensors(graph)
    graph.ClearField("value_info")


class _Writer:
    """Collects the nodes of the new graph. `rounded` has the names of rounded activations by those of the exact."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> None:
        self.graph, self.ranges = graph, ranges
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.rounded: dict[str, str] = {}
        self.steps: dict[str, np.float32] = {}

    def round_activation(self, name: str) -> None:
        """Append the pair of nodes that rounds an activation to uint8."""
        least, largest = self.ranges[name]
        step = np.float32(max(largest - least, 1e-9) / ACTIVATION_LEVELS)
        zero = np.uint8(np.clip(np.rint(-least / step), 0, ACTIVATION_LEVELS))
        parameters = [self._add_tensor(f"{name}_step", step), self._add_tensor(f"{name}_zero", zero)]
        self._append("QuantizeLinear", [name, *parameters], f"{name}_uint8")
        self.rounded[name] = self._append("DequantizeLinear", [f"{name}_uint8", *parameters], f"{name}_rounded")
        self.steps[name] = step

    def add_convolution(self, convolution: Int8Convolution, weights: Int8Weights) -> None:
        """Append a convolution with rounded operands. Its bias has the step of its sums, as int32."""
        node, name = convolution.node, convolution.input
        if name not in self.rounded:
            self.round_activation(name)
        node.input[0] = self.rounded[name]
        node.input[1] = self._dequantize(node.input[1], weights.levels, weights.steps)
        if len(node.input) > 2:
            steps = self.steps[name] * weights.steps
            bias = onnx.numpy_helper.to_array(self.tensors[node.input[2]])
            limit = np.iinfo(np.int32).max
            levels = np.clip(np.rint(bias.astype(np.float64) / steps), -limit, limit).astype(np.int32)
            node.input[2] = self._dequantize(node.input[2], levels, steps)
        self.nodes.append(node)

    def _dequantize(self, name: str, levels: Array, steps: NDArray[np.float32]) -> str:
        inputs = [
            self._add_tensor(f"{name}_levels", levels),
            self._add_tensor(f"{name}_steps", steps),
            self._add_tensor(f"{name}_zeros", np.zeros(len(steps), levels.dtype)),
        ]
        output = self._append("DequantizeLinear", inputs, f"{name}_rounded")
        self.nodes[-1].attribute.append(onnx.helper.make_attribute("axis", 0))
        return output

    def _append(self, operator: str, inputs: list[str], output: str) -> str:
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], f"{output}_node"))
        return output

    def _add_tensor(self, name: str, values: Any) -> str:
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name


def remove_identity_pools(graph: onnx.GraphProto) -> None:
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


def _remove_unused_tensors(graph: onnx.GraphProto) -> None:
    used = set(_names_read(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _names_read(graph: onnx.GraphProto) -> Iterator[str]:
    return (name for node in graph.node for name in node.input)

"""Rewrites a graph so that features are added with channels last, the order of onnxruntime's kernels of integers.

onnxruntime converts features for these kernels and moves the conversions past most operators, but not past additions.
"""

from collections.abc import Iterator

import onnx

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations of (N, C, H, W) to (N, H, W, C), and back."""


def add_channels_last(graph: onnx.GraphProto) -> None:
    """Change the graph in place so that tensors that had channels last before are added so, and sums of them too.

    The results are the same.
    """
    last: dict[str, str] = {}  # the name of a tensor with channels last, by that of the same with channels first
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        (output, *_) = node.output
        if node.op_type == "Transpose" and _permutation(node) == TO_FIRST:
            last[output] = node.input[0]
        if node.op_type == "Shape" and node.input[0] in last:
            _read_shape_of_last(node, last[node.input[0]])
        if node.op_type != "Add" or last.keys().isdisjoint(node.input):
            nodes.append(node)
            continue
        for name in node.input:
            if name not in last:
                last[name] = f"{name}_last"
                nodes.append(_transpose(name, last[name], TO_LAST))
        summed = f"{output}_last"
        nodes.append(onnx.helper.make_node("Add", [last[name] for name in node.input], [summed], node.name))
        nodes.append(_transpose(summed, output, TO_FIRST))
        last[output] = summed
    del graph.node[:]
    graph.node.extend(_used(nodes, {output.name for output in graph.output}))


def _transpose(name: str, output: str, permutation: tuple[int, ...]) -> onnx.NodeProto:
    return onnx.helper.make_node("Transpose", [name], [output], f"{output}_node", perm=permutation)


def _permutation(node: onnx.NodeProto) -> tuple[int, ...]:
    return tuple(onnx.helper.get_node_attr_value(node, "perm"))


def _read_shape_of_last(node: onnx.NodeProto, name: str) -> None:
    """Let a node that reads one side of a tensor read it of the same tensor with channels last."""
    start = onnx.helper.get_node_attr_value(node, "start")
    if onnx.helper.get_node_attr_value(node, "end") == start + 1:
        axis = TO_LAST.index(start)
        node.CopyFrom(onnx.helper.make_node("Shape", [name], list(node.output), node.name, start=axis, end=axis + 1))


def _used(nodes: list[onnx.NodeProto], outputs: set[str]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that the outputs depend on. onnxruntime runs the others, too."""
    needed = set(outputs)
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
    return (node for node in nodes if needed.intersection(node.output))

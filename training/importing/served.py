"""Builds the graph that is served from the original: uint8 (N, H, W, C) at the image ends, conversions inside.

The original graph is inlined under a prefix. Images are padded at the right and the bottom by repeating the edge pixels
where the model takes only certain sides, and the output is cropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from training.importing.original import Original, Port
from training.importing.reading import Reading, ValueRange
from training.importing.sides import Sides
from training.nets import Operation

PREFIX = "original/"
ONNX_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}
OUTPUT_NAMES: dict[Operation, str] = {"encode": "code", "reconstruct": "reconstruction", "denoise": "denoised"}
Shape = Sequence[int | str | None]


@dataclass(frozen=True, slots=True)
class End:
    """The input or output of a served graph: its name, and its shape without N, in which None is any size."""

    name: str
    is_image: bool
    shape: tuple[int | None, ...]

    def value_info(self) -> onnx.ValueInfoProto:
        """Return the declaration of this end in ONNX."""
        letters = ("height", "width", "channels")
        sides = [letters[axis] if side is None else side for axis, side in enumerate(self.shape)]
        return helper.make_tensor_value_info(
            self.name, TensorProto.UINT8 if self.is_image else TensorProto.FLOAT, ["batch", *sides]
        )


@dataclass
class Builder:
    """Collects nodes and constants of a graph; every method returns the name of its output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    initializers: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant array."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name


def build_graph(original: Original, ends: tuple[End, End], reading: Reading | None, sides: Sides | None) -> bytes:
    """Return a serialized graph from one end to the other. `reading` and `sides` are those of images.

    The batch runs at once; `one_by_one` is for models that take only one item.
    """
    first, last = ends
    builder = Builder()
    values = _before(builder, first, reading, sides, original) if first.is_image and reading else first.name
    if not first.is_image and len(original.input.shape) == 3:
        values = builder.add("Reshape", values, builder.constant([-1, *original.input.shape[1:]], np.int64))
    values = _cast(builder, values, original.input.dtype)
    values = _inline(builder, original, values)
    values = builder.add("Cast", values, to=TensorProto.FLOAT) if original.output.dtype != "float32" else values
    if last.is_image and reading:
        _after(builder, ends, values, reading, sides)
    elif len(last.shape) == 1:
        # Some exporters return the numbers of all items in one column.
        builder.add("Reshape", values, builder.constant([-1, *last.shape], np.int64), output=last.name)
    else:
        builder.add("Identity", values, output=last.name)
    graph = helper.make_graph(
        builder.nodes, "served", [first.value_info()], [last.value_info()], initializer=builder.initializers
    )
    return _finish(graph, original).SerializeToString(deterministic=True)


def one_by_one(content: bytes) -> bytes:
    """Return a graph that runs the items of a batch one after another, for models that take only one."""
    model = onnx.load_from_string(content)
    (outer_first,), (outer_last,) = model.graph.input, model.graph.output
    body = compose.add_prefix(model, "item/").graph
    (first,), (last,) = body.input, body.output
    first_name, last_name = first.name, last.name
    zero = numpy_helper.from_array(np.array([0], np.int64), "batch_axis")
    body.initializer.append(zero)
    nodes = [
        helper.make_node("Unsqueeze", ["item_in", "batch_axis"], [first_name]),
        *body.node,
        helper.make_node("Squeeze", [last_name, "batch_axis"], ["item_out"]),
    ]
    del body.node[:]
    body.node.extend(nodes)
    for value, name in ((first, "item_in"), (last, "item_out")):
        value.name = name
        del value.type.tensor_type.shape.dim[0]
    scan = helper.make_node("Scan", [outer_first.name], [outer_last.name], body=body, num_scan_inputs=1)
    model.graph.CopyFrom(helper.make_graph([scan], "served", [outer_first], [outer_last]))
    return model.SerializeToString(deterministic=True)


def _before(builder: Builder, end: End, reading: Reading, sides: Sides | None, original: Original) -> str:
    """Convert, arrange and pad images uint8 (N, H, W, C)."""
    scale, offset = _affine(reading, reading.input, inverse=False)
    values = builder.add("Cast", end.name, to=TensorProto.FLOAT)
    values = builder.add("Add", builder.add("Mul", values, builder.constant(scale)), builder.constant(offset))
    values = builder.add("Round", values) if original.input.dtype == "uint8" else values
    if reading.bgr:
        values = builder.add("Gather", values, builder.constant([2, 1, 0], np.int64), axis=3)
    if sides is not None and sides.fixed is None and (sides.multiple > 1 or sides.minimum > 1):
        values = _pad(builder, values, sides)
    return builder.add("Transpose", values, perm=[0, 3, 1, 2]) if reading.layout == "nchw" else values


def _pad(builder: Builder, values: str, sides: Sides) -> str:
    """Pad (N, H, W, C) at the bottom and the right by the edge pixels."""
    size = builder.add("Shape", values, start=1, end=3)
    multiple = builder.constant([sides.multiple] * 2, np.int64)
    up = builder.add("Add", size, builder.constant([sides.multiple - 1] * 2, np.int64))
    padded = builder.add("Mul", builder.add("Div", up, multiple), multiple)
    padded = builder.add("Max", padded, builder.constant([sides.minimum] * 2, np.int64))
    missing = builder.add("Sub", padded, size)
    zeros = builder.constant([0] * 5, np.int64)
    zero = builder.constant([0], np.int64)
    pads = builder.add("Concat", zeros, missing, zero, axis=0)
    return builder.add("Pad", values, pads, mode="edge")


def _after(builder: Builder, ends: tuple[End, End], values: str, reading: Reading, sides: Sides | None) -> None:
    """Arrange, crop and convert the output to images uint8 (N, H, W, C)."""
    first, last = ends
    values = builder.add("Transpose", values, perm=[0, 2, 3, 1]) if reading.layout == "nchw" else values
    if first.is_image and sides is not None and sides.fixed is None and (sides.multiple > 1 or sides.minimum > 1):
        size = builder.add("Shape", first.name, start=1, end=3)
        values = builder.add(
            "Slice", values, builder.constant([0, 0], np.int64), size, builder.constant([1, 2], np.int64)
        )
    if reading.bgr:
        values = builder.add("Gather", values, builder.constant([2, 1, 0], np.int64), axis=3)
    scale, offset = _affine(reading, reading.output, inverse=True)
    values = builder.add("Mul", values, builder.constant(scale))
    if reading.residual:
        values = builder.add("Sub", builder.add("Cast", first.name, to=TensorProto.FLOAT), values)
    else:
        values = builder.add("Add", values, builder.constant(offset))
    values = builder.add("Clip", values, builder.constant(0.0), builder.constant(255.0))
    builder.add("Cast", builder.add("Round", values), output=last.name, to=TensorProto.UINT8)


def _affine(reading: Reading, values: ValueRange, *, inverse: bool) -> tuple[Any, Any]:
    """Return scale and offset from grey levels to a range, or inverse: float32 (C,) in the order R, G, B."""
    mean, std = reading.mean_of(values).astype(np.float64), reading.std_of(values).astype(np.float64)
    return (255 * std, 255 * mean) if inverse else (1 / (255 * std), -mean / std)


def _cast(builder: Builder, values: str, dtype: str) -> str:
    return values if dtype == "float32" else builder.add("Cast", values, to=ONNX_TYPES[dtype])


def _inline(builder: Builder, original: Original, values: str) -> str:
    """Add the nodes of the original graph, fed with `values` and its constants."""
    prefixed = compose.add_prefix(original.source.model, PREFIX)
    graph = prefixed.graph
    builder.nodes.append(helper.make_node("Identity", [values], [PREFIX + original.input.name]))
    for port, number in original.constants.items():
        _add_constant(builder, original, port, number)
    builder.nodes.extend(graph.node)
    builder.initializers.extend(graph.initializer)
    return PREFIX + original.output.name


def _add_constant(builder: Builder, original: Original, port: Port, number: float) -> None:
    """Fill an input by a number; one of four dimensions becomes a map of the size of the image."""
    dtype = np.dtype(port.dtype)
    if len(port.shape) != 4:
        shape = [side or 1 for side in port.shape]
        builder.initializers.append(numpy_helper.from_array(np.full(shape, number, dtype), PREFIX + port.name))
        return
    channel = builder.add(
        "Gather", PREFIX + original.input.name, builder.constant([0] * (port.shape[1] or 1), np.int64), axis=1
    )
    blank = builder.add("Mul", channel, builder.constant(0, np.dtype(original.input.dtype)))
    filled = builder.add("Add", blank, builder.constant(number, np.dtype(original.input.dtype)))
    builder.add("Cast", filled, output=PREFIX + port.name, to=ONNX_TYPES[port.dtype])


def _finish(graph: onnx.GraphProto, original: Original) -> onnx.ModelProto:
    """Return the model, with the operator sets of the original."""
    model = helper.make_model(graph, opset_imports=original.source.model.opset_import)
    model.ir_version = original.source.model.ir_version
    model.producer_name, model.producer_version = "", ""
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators of a model."""
    versions: Mapping[str, int] = {item.domain: item.version for item in model.opset_import}
    return versions.get("", versions.get("ai.onnx", 1))

"""Exports the operations of a net as ONNX graphs that include pre- and postprocessing.

Images are uint8 (N, H, W, C) at both ends. Only this module uses torch's ONNX exporter.
"""

import logging
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from service.card import CROP_INPUT, NOISE_MAP_OUTPUT, STRENGTH_CONTROL
from training.nets import Autoencoder, Operation

OPSET = 20
"""ONNX operator set version; pinned because the bytes of a graph depend on it."""


class ExportModule(nn.Module):
    """An operation of a net as it is served.

    Inputs and outputs are images uint8 (N, H, W, C), vectors float32 (N, F), or codes float32 (N, ...): `encode`
    returns codes and `decode` takes them. Images are converted from and to the net's float32 (N, C, H, W) in 0..1.

    `denoise` of a net that takes a strength has it as a second input, float32 (N,), and the variances of the noise,
    float32 (N, h, w), as a second output. If the net takes images of any size, the last input is a crop, int64 (4,):
    the pixels of the output to leave out at its top, left, bottom and right.
    """

    def __init__(self, net: Autoencoder, operation: Operation) -> None:
        """Wrap an operation of `net`."""
        super().__init__()
        self.net = net
        self.is_image = len(net.shape) == 3
        self.operation: Operation = operation

    @property
    def takes_strength(self) -> bool:
        """Whether the operation has a second input and a second output."""
        return self.operation == "denoise" and self.net.max_strength > 1

    @property
    def crops(self) -> bool:
        """Whether the last input is a crop."""
        return self.net.any_size and self.operation in {"reconstruct", "denoise"}

    @property
    def io_names(self) -> tuple[str, str]:
        """The names of the graph's input and output, which must differ in ONNX."""
        item = "image" if self.is_image else "vector"
        if self.operation == "decode":
            return "code", item
        return item, {"encode": "code", "reconstruct": "reconstruction", "denoise": "denoised"}[self.operation]

    def forward(
        self, x: Tensor, strength: Tensor | None = None, crop: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the operation on a batch. `strength` (N,) is for `denoise` of nets that take one."""
        if self.operation == "decode":
            return self._postprocess(self.net.decode(x))
        values = x.permute(0, 3, 1, 2).to(torch.float32) / 255 if self.is_image else x
        if self.operation == "encode":
            return self.net.encode(values)
        result = self.net.denoise(values, strength, crop)
        output = self._postprocess(result.output)
        return output if strength is None or result.noise_variance is None else (output, result.noise_variance)

    def _postprocess(self, output: Tensor) -> Tensor:
        values = self.net.activate_output(output)
        if not self.is_image:
            return values
        return (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def example_inputs(self) -> dict[str, Tensor]:
        """Return the inputs to trace the graph with, by the parameters of `forward`, for a batch of 2."""
        inputs = {"x": self.example_input()}
        if self.takes_strength:
            inputs["strength"] = torch.ones(2)
        if self.crops:
            inputs["crop"] = torch.zeros(4, dtype=torch.int64)
        return inputs

    def example_input(self) -> Tensor:
        """Return zeros (2, ...) to trace the graph with.

        The sides of images of any size are not multiples of the stride, so that padding and cropping are traced.
        """
        if self.operation == "decode":
            return torch.zeros(2, *(side or 1 for side in self.net.code_shape))
        if not self.is_image:
            return torch.zeros(2, *self.net.shape)
        channels, height, width = self.net.shape
        if self.net.any_size and self.net.stride:
            height, width = 2 * self.net.stride + 3, 3 * self.net.stride + 5
        return torch.zeros(2, height, width, channels, dtype=torch.uint8)

    def dynamic_shapes(self) -> dict[str, dict[int, Dim]]:
        """Return the dimensions of each input that may vary: the batch, and the sides of images of any size."""
        batch = {0: Dim("batch", min=1)}
        sides = {1: Dim("height", min=1), 2: Dim("width", min=1)} if self.net.any_size else {}
        shapes = {"x": batch | sides, "strength": batch, "crop": {}}
        return {name: shapes[name] for name in self.example_inputs()}


def export_onnx(module: ExportModule) -> bytes:
    """Export an operation as a serialized ONNX model without external data.

    The same weights give the same bytes. Raises RuntimeError if the exporter fails.
    """
    input_name, output_name = module.io_names
    module = ExportModule(module.net.for_inference(), module.operation)
    names = {"x": input_name, "strength": STRENGTH_CONTROL, "crop": CROP_INPUT}
    inputs = module.example_inputs()
    with _silence_exporter():
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=module.dynamic_shapes(),
            external_data=False,
            input_names=[names[name] for name in inputs],
            output_names=[output_name, NOISE_MAP_OUTPUT] if module.takes_strength else [output_name],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned no graph")
    model = _strip_metadata(program.model_proto)
    if module.crops:
        model.graph.initializer.append(onnx.numpy_helper.from_array(inputs["crop"].numpy(), CROP_INPUT))
        _merge_slices(model.graph)
    return model.SerializeToString(deterministic=True)


def _merge_slices(graph: onnx.GraphProto) -> None:
    """Replace pairs of slices, one of the rows and one of the columns, by one slice of both, in place.

    The exporter writes a node for each axis, and onnxruntime copies the tensor at each node.
    """
    axes = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
    rows = {node.output[0]: node for node in graph.node if node.op_type == "Slice" and axes.get(node.input[3]) == [2]}
    nodes = list(graph.node)
    for node in graph.node:
        first = rows.get(node.input[0]) if node.op_type == "Slice" and axes.get(node.input[3]) == [3] else None
        if first is None:
            continue
        others = [reader for reader in nodes if first.output[0] in reader.input and reader is not node]
        if any(reader.op_type != "Shape" or onnx.helper.get_node_attr_value(reader, "end") > 3 for reader in others):
            continue
        for reader in others:  # the number of rows
            reader.input[0] = node.output[0]
        node.input[0] = first.input[0]
        for at, pair in enumerate(zip(first.input[1:], node.input[1:], strict=True), start=1):
            node.input[at] = f"{node.output[0]}_input_{at}"
            nodes.append(onnx.helper.make_node("Concat", pair, [node.input[at]], node.input[at], axis=0))
        nodes.remove(first)
    del graph.node[:]
    graph.node.extend(_topological_order(graph, nodes))


def _topological_order(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    known = {part.name for parts in (graph.input, graph.initializer) for part in parts} | {""}
    pending = list(nodes)
    while pending:
        ready = [node for node in pending if known.issuperset(node.input)]
        pending = [node for node in pending if not known.issuperset(node.input)]
        if not ready:
            raise RuntimeError("the exporter returned a graph with a cycle")
        for node in ready:
            known.update(node.output)
        yield from ready


def _strip_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove source paths, stack traces and class names, which depend on the machine, in place."""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextmanager
def _silence_exporter() -> Generator[None]:
    """Silence the exporter's log messages on a missing torchvision, and warnings of torch's own code.

    One is a deprecation; the other says that two inputs share their batch dimension.
    """
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"# The axis name: batch will not be used", UserWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(before)

"""A net's operations as ONNX graphs, preprocessing inside: pictures are uint8 N,H,W,C at both ends.

The only file that knows the exporter. Knows nothing of cards, folders or what the graphs are good for.
"""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from training.nets import Autoencoder, Operation

OPSET = 20
"""The operators' version; pinned, since a graph's bytes depend on it."""


class ExportModule(nn.Module):
    """One operation of a net as it is served.

    image uint8 N,H,W,C | vector float32 N,F -> the net's floats -> image | vector; or code float32 N,... on one side.
    """

    def __init__(self, net: Autoencoder, operation: Operation) -> None:
        super().__init__()
        self.net = net
        self.is_image = len(net.shape) == 3
        self.operation: Operation = operation

    @property
    def io_names(self) -> tuple[str, str]:
        """The names of the graph's input and output; ONNX wants them to differ."""
        item = "image" if self.is_image else "vector"
        if self.operation == "decode":
            return "code", item
        return item, {"encode": "code", "reconstruct": "reconstruction", "denoise": "denoised"}[self.operation]

    def forward(self, x: Tensor) -> Tensor:
        if self.operation == "decode":
            return self._postprocess(self.net.decode(x))
        values = x.permute(0, 3, 1, 2).to(torch.float32) / 255 if self.is_image else x
        return self.net.encode(values) if self.operation == "encode" else self._postprocess(self.net(values))

    def _postprocess(self, output: Tensor) -> Tensor:
        values = self.net.activate_output(output)
        if not self.is_image:
            return values
        return (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def example_input(self) -> Tensor:
        """Two items of zeros, of sides that no rounding inside can hide where pictures of any size are taken."""
        if self.operation == "decode":
            return torch.zeros(2, *(side or 1 for side in self.net.code_shape))
        if not self.is_image:
            return torch.zeros(2, *self.net.shape)
        channels, height, width = self.net.shape
        if self.net.any_size and self.net.stride:
            height, width = 2 * self.net.stride + 3, 3 * self.net.stride + 5
        return torch.zeros(2, height, width, channels, dtype=torch.uint8)

    def dynamic_shapes(self) -> dict[int, Dim]:
        """The sides of the input that are free, by their position."""
        batch = {0: Dim("batch", min=1)}
        return {**batch, 1: Dim("height", min=1), 2: Dim("width", min=1)} if self.net.any_size else batch


def export_onnx(module: ExportModule) -> bytes:
    """The ONNX graph of a served operation: one file, one input, one output, the same bytes every time."""
    given, made = module.io_names
    with _silence_exporter():
        program = torch.onnx.export(
            module.eval(),
            (module.example_input(),),
            dynamo=True,
            dynamic_shapes=(module.dynamic_shapes(),),
            external_data=False,
            input_names=[given],
            output_names=[made],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned no graph")
    return _strip_metadata(program.model_proto).SerializeToString(deterministic=True)


def _strip_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter tells of this machine: source paths, stack traces, class names."""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextmanager
def _silence_exporter() -> Generator[None]:
    """Without the exporter's word on torchvision, which we have no use for, and on torch's own use of its old names."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(before)

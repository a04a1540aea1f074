"""Exports the operations of a net as ONNX graphs that include pre- and postprocessing.

Images are uint8 (N, H, W, C) at both ends. Only this module uses torch's ONNX exporter.
"""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from service.card import NOISE_MAP_OUTPUT, STRENGTH_CONTROL
from training.nets import Autoencoder, Operation

OPSET = 20
"""ONNX operator set version; pinned because the bytes of a graph depend on it."""


class ExportModule(nn.Module):
    """An operation of a net as it is served.

    Inputs and outputs are images uint8 (N, H, W, C), vectors float32 (N, F), or codes float32 (N, ...): `encode`
    returns codes and `decode` takes them. Images are converted from and to the net's float32 (N, C, H, W) in 0..1.

    `denoise` of a net that takes a strength has it as a second input, float32 (N,), and the variances of the noise,
    float32 (N, h, w), as a second output.
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
    def io_names(self) -> tuple[str, str]:
        """The names of the graph's input and output, which must differ in ONNX."""
        item = "image" if self.is_image else "vector"
        if self.operation == "decode":
            return "code", item
        return item, {"encode": "code", "reconstruct": "reconstruction", "denoise": "denoised"}[self.operation]

    def forward(self, x: Tensor, strength: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Run the operation on a batch. `strength` (N,) is for `denoise` of nets that take one."""
        if self.operation == "decode":
            return self._postprocess(self.net.decode(x))
        values = x.permute(0, 3, 1, 2).to(torch.float32) / 255 if self.is_image else x
        if strength is not None:
            result = self.net.denoise(values, strength)
            if result.noise_variance is not None:
                return self._postprocess(result.output), result.noise_variance
        return self.net.encode(values) if self.operation == "encode" else self._postprocess(self.net(values))

    def _postprocess(self, output: Tensor) -> Tensor:
        values = self.net.activate_output(output)
        if not self.is_image:
            return values
        return (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return the inputs to trace the graph with, for a batch of 2."""
        return (self.example_input(), torch.ones(2)) if self.takes_strength else (self.example_input(),)

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

    def dynamic_shapes(self) -> dict[int, Dim]:
        """Return the dimensions of the input that may vary: the batch, and the sides of images of any size."""
        batch = {0: Dim("batch", min=1)}
        return {**batch, 1: Dim("height", min=1), 2: Dim("width", min=1)} if self.net.any_size else batch


def export_onnx(module: ExportModule) -> bytes:
    """Export an operation as a serialized ONNX model without external data.

    The same weights give the same bytes. Raises RuntimeError if the exporter fails.
    """
    input_name, output_name = module.io_names
    input_names, output_names, shapes = [input_name], [output_name], [module.dynamic_shapes()]
    if module.takes_strength:
        input_names.append(STRENGTH_CONTROL)
        output_names.append(NOISE_MAP_OUTPUT)
        shapes.append({0: shapes[0][0]})
    with _silence_exporter():
        program = torch.onnx.export(
            module.eval(),
            module.example_inputs(),
            dynamo=True,
            dynamic_shapes=tuple(shapes),
            external_data=False,
            input_names=input_names,
            output_names=output_names,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned no graph")
    return _strip_metadata(program.model_proto).SerializeToString(deterministic=True)


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

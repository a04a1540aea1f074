"""Static int8 quantization of a float32 graph in QDQ format, with onnxruntime's quantization tools.

The ranges of the activations are calibrated on images. Pre- and postprocessing stay in float32.
"""

import logging
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.export.int8_graph import prepare_for_int8

QUANTIZED_OPS = ("Conv", "Relu", "Add", "Reshape", "Transpose", "Slice")
"""With additions and operators that move pixels, whole blocks stay in int8; quantizing Conv alone gains half."""
PERCENTILE = 99.99
"""Percentage of an activation's values within its range; the others are clipped."""
CALIBRATION_STRENGTHS = (1.0, 1.5, 2.0)
"""Strengths of denoising whose activations must be within the ranges."""


class CalibrationReader(CalibrationDataReader):
    """Feeds the calibration arrays to onnxruntime, one per run.

    Strengths, if the graph takes them, cycle through CALIBRATION_STRENGTHS.
    """

    def __init__(self, names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> None:
        """Take the names of the graph's inputs, and the values (N, ...) of the first."""
        first, *others = names
        strengths = cycle(CALIBRATION_STRENGTHS)
        self._feeds = iter(
            [
                {first: array, **{name: np.full(len(array), next(strengths), np.float32) for name in others}}
                for array in arrays
            ]
        )

    def get_next(self) -> Any:
        """Return the next input by name, or None at the end."""
        return next(self._feeds, None)


def quantize(graph: bytes, arrays: Sequence[NDArray[Any]]) -> bytes:
    """Quantize a serialized ONNX model to int8, calibrated by running it on each of `arrays` (N, ...)."""
    with tempfile.TemporaryDirectory() as folder, _silence_quantizer():
        original, prepared, quantized = (
            Path(folder) / name for name in ("original.onnx", "prepared.onnx", "quantized.onnx")
        )
        original.write_bytes(graph)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        prepare_for_int8(model)
        onnx.save(model, prepared)
        quantize_static(
            prepared,
            quantized,
            CalibrationReader([node.name for node in model.graph.input], arrays),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTIZED_OPS),
            nodes_to_quantize=_quantizable_nodes(model),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
        return onnx.load(quantized).SerializeToString(deterministic=True)


def _quantizable_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes of QUANTIZED_OPS that are convolutions or depend on one."""
    names: list[str] = []
    outputs: set[str] = set()  # of the chosen nodes
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPS and (node.op_type == "Conv" or any(name in outputs for name in node.input)):
            names.append(node.name)
            outputs.update(node.output)
    return names


@contextmanager
def _silence_quantizer() -> Generator[None]:
    """Silence the tools' progress on stdout, and their advice to preprocess the model, which `quantize` follows."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), np.errstate(all="ignore"):
            yield
    finally:
        logging.root.setLevel(level)

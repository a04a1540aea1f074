"""A float32 graph as one whose convolutions multiply 8-bit integers: static quantisation, in the QDQ form.

Ranges come from pictures that are run through it. What surrounds the net in the graph stays in floats. The only file
that knows onnxruntime's tools for it.
"""

import logging
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
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
"""With additions and what moves pixels inside, whole blocks stay in 8 bits: convolutions alone gain half as much."""
PERCENTILE = 99.99
"""Percentage of a tensor's numbers that its range holds; what is further out is cut."""


class CalibrationReader(CalibrationDataReader):
    """The arrays to calibrate with, one run each."""

    def __init__(self, name: str, arrays: Sequence[NDArray[Any]]) -> None:
        self._feeds = iter([{name: array} for array in arrays])

    def get_next(self) -> Any:
        return next(self._feeds, None)


def quantize(graph: bytes, arrays: Sequence[NDArray[Any]]) -> bytes:
    """The graph in int8, calibrated by running `arrays` (N first) through it."""
    with tempfile.TemporaryDirectory() as folder, _silence_quantizer():
        plain, prepared, made = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "made.onnx"))
        plain.write_bytes(graph)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        prepare_for_int8(model)
        onnx.save(model, prepared)
        quantize_static(
            prepared,
            made,
            CalibrationReader(model.graph.input[0].name, arrays),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTIZED_OPS),
            nodes_to_quantize=_quantizable_nodes(model),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
        return onnx.load(made).SerializeToString(deterministic=True)


def _quantizable_nodes(model: onnx.ModelProto) -> list[str]:
    """The nodes of QUANTIZED_OPS from the first convolution on: those that work on what it gives."""
    chosen: list[str] = []
    given: set[str] = set()  # the tensors that come from chosen nodes
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPS and (node.op_type == "Conv" or any(name in given for name in node.input)):
            chosen.append(node.name)
            given.update(node.output)
    return chosen


@contextmanager
def _silence_quantizer() -> Generator[None]:
    """Without the tools' progress on the standard output and their advice on preparing, which is followed here."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), np.errstate(all="ignore"):
            yield
    finally:
        logging.root.setLevel(level)

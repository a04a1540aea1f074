"""The original model: its inputs and outputs, the one input that carries the items, and how to run it.

It knows no images: values are float32 in the layout and range of the model.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime reads this on import
import onnxruntime as ort

from training.errors import ImportRejected
from training.importing.source import Source, operators

Array = NDArray[Any]
DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.UINT8: "uint8",
}
"""The dtypes of items that can be served, by their numbers in ONNX."""
IMAGE_CHANNELS = (1, 3)
RECURRENT = {"LSTM", "GRU", "RNN"}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, its dtype, and its shape, in which a dimension of any size is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"'{self.name}' ({self.dtype} {sides})"

    @property
    def is_image(self) -> bool:
        """Whether it may be a batch of images: four dimensions, one of which may be that of 1 or 3 channels."""
        return len(self.shape) == 4 and any(self.shape[axis] in (*IMAGE_CHANNELS, None) for axis in (1, 3))

    @property
    def is_constant_like(self) -> bool:
        """Whether one number can fill it: a scalar, or an array whose sides are 1 or, for a map, like the image's."""
        return all(side in (1, None) for side in self.shape[:2]) and (len(self.shape) <= 2 or len(self.shape) == 4)


@dataclass(frozen=True, slots=True)
class Selection:
    """Choices by flags about inputs and outputs: names, and the values of further inputs."""

    input: str | None = None
    output: str | None = None
    constants: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Original:
    """A model with the input and the output that are served, and the numbers that fill its other inputs."""

    source: Source
    input: Port
    output: Port
    constants: Mapping[Port, float]
    session: ort.InferenceSession

    def run(self, values: Array) -> Array:
        """Run values float32 (N, ...) of the input, and return those of the output as float32.

        Raises the exceptions of onnxruntime, of no common class, for a shape that the model does not take.
        """
        feeds = {self.input.name: np.ascontiguousarray(values.astype(self.input.dtype))}
        for port, value in self.constants.items():
            feeds[port.name] = np.full(_constant_shape(port, values.shape), value, port.dtype)
        (output,) = cast("Sequence[Array]", self.session.run([self.output.name], feeds))
        return np.asarray(output, np.float32)

    def fits(self, values: Array) -> Array | None:
        """Return the output for values float32, or None if the model does not take their shape."""
        try:
            return self.run(values)
        except Exception:
            return None


def open_original(source: Source, selection: Selection) -> Original:
    """Load a model and choose its input and output. Raises ImportRejected with a question if they are not obvious."""
    graph = source.model.graph
    initialized = {tensor.name for tensor in graph.initializer}
    inputs = [_port(value) for value in graph.input if value.name not in initialized]
    outputs = [_port(value) for value in graph.output]
    main = _choose_input(source.file, inputs, selection.input, set(operators(source.model)))
    others = [port for port in inputs if port is not main]
    constants = {port: _constant(source.file, port, outputs, selection.constants) for port in others}
    if unknown := sorted(set(selection.constants) - {port.name for port in others}):
        raise ImportRejected(
            f"--constant {unknown[0]}: {source.file} has no further input of this name; "
            f"its inputs are {', '.join(map(str, inputs))}"
        )
    output = _choose_output(source.file, outputs, main, selection.output)
    return Original(source, main, output, constants, _session(source))


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else "no tensor"
    sides = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim
    )
    return Port(value.name, DTYPES.get(tensor.elem_type, dtype), sides)


def _choose_input(file: str, inputs: Sequence[Port], name: str | None, types: set[str]) -> Port:
    if not inputs:
        raise ImportRejected(f"{file} has no input: export the net with the item as its input")
    if name is not None:
        chosen = [port for port in inputs if port.name == name]
        if not chosen:
            raise ImportRejected(f"--input {name}: the inputs of {file} are {', '.join(map(str, inputs))}")
    else:
        chosen = [port for port in inputs if port.is_image and not _is_map(port)] or [
            port for port in inputs if not port.is_constant_like
        ]
        chosen = chosen or list(inputs[:1])
    if len(chosen) > 1 and RECURRENT & types:
        raise ImportRejected(
            f"{file} carries a state from run to run ({', '.join(map(str, chosen))}), and the service keeps none "
            "between "
            "requests: export the net with its initial state inside, as a constant"
        )
    if len(chosen) > 1:
        raise ImportRejected(
            f"{file} takes several inputs, {', '.join(map(str, chosen))}, but a request carries one item: which one is "
            "it (--input NAME)? Fill the others with numbers by --constant NAME=VALUE, or join them to one in the net"
        )
    (port,) = chosen
    if port.dtype not in DTYPES.values():
        raise ImportRejected(f"{file}: the input {port} is not float32, float16, float64 or uint8: cast it in the net")
    if len(port.shape) not in (2, 3, 4):
        raise ImportRejected(f"{file}: the input {port} is neither images (4 dimensions) nor vectors (2): reshape it")
    return port


def _is_map(port: Port) -> bool:
    """Whether an input of four dimensions is named like a map of noise levels, beside the image."""
    return bool(re.search(r"sigma|noise_?(level|map)|strength|mask", port.name, re.IGNORECASE))


def _constant(file: str, port: Port, outputs: Sequence[Port], values: Mapping[str, float]) -> float:
    if port.name in values:
        if port.is_constant_like and port.dtype in DTYPES.values():
            return values[port.name]
        raise ImportRejected(f"--constant {port.name}: one number cannot fill {port}")
    if port.is_constant_like:
        raise ImportRejected(
            f"{file} has a further input {port}: which value is served? Say --constant {port.name}=VALUE"
        )
    if any(output.shape == port.shape for output in outputs):
        raise ImportRejected(
            f"{file} carries a state from run to run: {port} comes back as an output. The service keeps no state "
            "between "
            "requests: export the net with its initial state inside"
        )
    raise ImportRejected(f"{file} has a further input {port}, which no request carries: make it a constant of the net")


def _choose_output(file: str, outputs: Sequence[Port], main: Port, name: str | None) -> Port:
    usable = [port for port in outputs if port.dtype in DTYPES.values()]
    if name is not None:
        usable = [port for port in usable if port.name == name]
        if not usable:
            raise ImportRejected(f"--output {name}: the outputs of {file} are {', '.join(map(str, outputs))}")
    if len(usable) > 1:
        alike = [port for port in usable if len(port.shape) == len(main.shape) and port.shape[1:] == main.shape[1:]]
        usable = alike if len(alike) == 1 else usable
    if len(usable) > 1:
        raise ImportRejected(
            f"{file} has {len(usable)} outputs, {', '.join(map(str, usable))}: which one (--output NAME)?"
        )
    if not usable:
        raise ImportRejected(f"{file}: no output is float32, float16, float64 or uint8: cast it in the net")
    return usable[0]


def _session(source: Source) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(source.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many unrelated classes for a bad graph
        reason = str(error).split(" : ")[-1].strip()
        raise ImportRejected(
            f"onnxruntime {ort.__version__} cannot load {source.file}: {reason[:300]}; export it again, with standard "
            "operators and float32 weights"
        ) from error


def _constant_shape(port: Port, item: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a constant input for items of a shape: (N, 1, H, W) for a map beside images (N, C, H, W)."""
    if len(port.shape) != 4:
        return tuple(side or item[0] for side in port.shape)
    sides = [side or size for side, size in zip(port.shape, item, strict=True)]
    sides[1] = port.shape[1] or 1
    return tuple(sides)

"""Observes the activations of a graph on example inputs: their ranges, and the inputs of its convolutions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.export.int8_graph import Int8Convolution, Range

Array = NDArray[Any]

STRENGTHS = (1.0, 1.5, 2.0)
"""Strengths of denoising whose activations are observed, in turn."""
MAX_VALUES, MAX_OUTPUTS = 8192, 512
"""How many values of an activation, and how many outputs of a convolution, are drawn from each run."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Activations:
    """What was observed: `values` (N,) of each activation by its name, and `moments` of each convolution by its name.

    `moments` (K, K) are the mean products of any two of the K = in * height * width inputs of one output.
    """

    values: dict[str, Array]
    moments: dict[str, Array]

    def ranges(self, percentile: float) -> dict[str, Range]:
        """Return ranges that hold zero and all but 100 - `percentile` percent of the values at each end."""
        limits = {name: np.percentile(values, [100 - percentile, percentile]) for name, values in self.values.items()}
        return {name: (min(0.0, float(low)), max(0.0, float(high))) for name, (low, high) in limits.items()}


def observe(model: onnx.ModelProto, convolutions: Sequence[Int8Convolution], arrays: Sequence[Array]) -> Activations:
    """Run a graph on each of `arrays` (N, ...), and observe the inputs and outputs of these convolutions."""
    names = list(dict.fromkeys(name for one in convolutions for name in (one.input, one.output)))
    kernels = {tensor.name: tuple(tensor.dims[2:]) for tensor in model.graph.initializer}
    random = np.random.default_rng(SEED)
    values: dict[str, list[Array]] = {name: [] for name in names}
    moments: dict[str, Array] = {}
    for activations in _run(model, names, arrays):
        for name, activation in activations.items():
            values[name].append(random.choice(activation.ravel(), MAX_VALUES))
        for one in convolutions:
            inputs = _draw_inputs(activations[one.input], one.node, kernels[one.weights], random)
            moments[one.name] = moments.get(one.name, 0) + inputs.T @ inputs / len(inputs)
    return Activations(
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: total / len(arrays) for name, total in moments.items()},
    )


def _run(model: onnx.ModelProto, names: Sequence[str], arrays: Sequence[Array]) -> Iterator[dict[str, Array]]:
    """Run a graph on each of `arrays`, and return the named float tensors."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    first, *controls = (spec.name for spec in session.get_inputs())
    for array, strength in zip(arrays, cycle(STRENGTHS), strict=False):
        feeds = {first: array, **{name: np.full(len(array), strength, np.float32) for name in controls}}
        outputs: Any = session.run(names, feeds)
        yield dict(zip(names, outputs, strict=True))


def _draw_inputs(images: Array, node: onnx.NodeProto, kernel: tuple[int, ...], random: Generator) -> Array:
    """Return the inputs float64 (MAX_OUTPUTS, in * height * width) of random outputs of a convolution of `images`.

    `images` are (N, in, H, W), and `kernel` is the height and width of the weights.
    """
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    padded = F.pad(torch.from_numpy(images), (left, right, top, bottom))
    columns = F.unfold(padded, kernel, stride=tuple(attributes.get("strides", (1, 1))))
    inputs = columns.transpose(1, 2).flatten(0, 1).numpy()
    return inputs[random.choice(len(inputs), MAX_OUTPUTS)].astype(np.float64)

"""ONNX models as strangers would write them, small enough to read: filters and nets of random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
BLUR = np.outer([1, 2, 1], [1, 2, 1]) / 16
ANY_NCHW, ANY_NHWC = ("n", 3, "h", "w"), ("n", "h", "w", 3)


def save_net(
    path: Path,
    text: str,
    weights: dict[str, Array],
    *,
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Sequence[Any]],
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    domain: str = "",
) -> Path:
    """Write a model whose nodes are the lines `output = Operator(inputs) key=value ...` of a text."""
    nodes: list[onnx.NodeProto] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        names, call = line.split(" = ")
        operator, rest = call.split("(")
        arguments, _, attributes = rest.partition(")")
        values = {key: _value(value) for key, value in (part.split(":") for part in attributes.split())}
        nodes.append(helper.make_node(operator, arguments.split(), names.split(), domain=domain, **values))
    graph = helper.make_graph(
        nodes,
        "stranger",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


def _value(text: str) -> Any:
    numbers = [int(part) for part in text.split(",")] if text.lstrip("-")[:1].isdigit() else None
    return text if numbers is None else numbers if "," in text else numbers[0]


def blur_weights(channels: int = 3) -> Array:
    """Return the weights of a blur of each channel, float32 (channels, 1, 3, 3)."""
    return np.repeat(BLUR[np.newaxis, np.newaxis], channels, 0).astype(np.float32)


def save_denoiser(path: Path, threshold: float, white: float, **changes: Any) -> Path:
    """Write a filter on N,C,H,W that keeps only differences from the blurred image above a threshold.

    `threshold` is in the unit of the values, which are clipped to 0..`white`.
    """
    return save_net(
        path,
        """
        seen = Min(x white)
        low = Conv(seen blur) pads:1,1,1,1 group:3
        high = Sub(seen low)
        size = Abs(high)
        over = Sub(size threshold)
        rest = Relu(over)
        sign = Sign(high)
        kept = Mul(sign rest)
        sum = Add(low kept)
        y = Relu(sum)
        """,
        {
            "blur": blur_weights(),
            "threshold": np.array(threshold, np.float32),
            "white": np.array(white, np.float32),
        },
        inputs={"x": ANY_NCHW},
        outputs={"y": ANY_NCHW},
        **changes,
    )


def shrunk(images: Array, threshold: float) -> Array:
    """Compute the answer of `save_denoiser` to images uint8 (N, H, W, 3), for a threshold on the scale 0..255."""
    padded = np.pad(images.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = images.shape[1:3]
    low = sum(BLUR[i, j] * padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    high = images - low
    values = low + np.sign(high) * np.maximum(np.abs(high) - threshold, 0)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)

"""The models that are measured with: seeded, made by code, published like any other. Knows onnx."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.payloads import SIDE, digits, photo
from service.card import CARD_FILE, Card, Operation
from service.runtime.session import Session
from service.runtime.tensors import to_tensor

Array = NDArray[Any]
WIDTHS = (784, 512, 128, 32)  # the dense net, down; the way up mirrors it

Ends = tuple[int, list[int | str]]  # element type and shape of a port
DIGIT: Ends = (TensorProto.UINT8, ["n", SIDE, SIDE, 1])
PHOTO: Ends = (TensorProto.UINT8, ["n", "h", "w", 3])
CODE: Ends = (TensorProto.FLOAT, ["n", WIDTHS[-1]])


class Builder:
    """Nodes and seeded weights of one graph, in order."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; the name of its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, value: Array) -> str:
        """Append a constant; its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def scalar(self, value: float) -> str:
        """A float32 constant."""
        return self.weight(np.full((), value, np.float32))

    def dense(self, at: str, inside: int, outside: int) -> str:
        """One layer with its bias; He's scale, so that signals neither die nor grow."""
        matrix = self.random.normal(0, np.sqrt(2 / inside), (inside, outside)).astype(np.float32)
        return self.node("Gemm", at, self.weight(matrix), self.weight(np.zeros(outside, np.float32)))

    def conv(self, at: str, inside: int, outside: int, side: int = 3, stride: int = 1) -> str:
        """One convolution that keeps the size, or divides it by the stride."""
        scale = np.sqrt(2 / (inside * side * side))
        kernel = self.random.normal(0, scale, (outside, inside, side, side)).astype(np.float32)
        around = [0] * 4 if stride > 1 else [side // 2] * 4
        return self.node("Conv", at, self.weight(kernel), pads=around, strides=[stride] * 2)

    def grey(self, at: str, spread: float) -> str:
        """Numbers around 0 as levels 0..255."""
        shifted = self.node("Add", self.node("Mul", at, self.scalar(spread)), self.scalar(128.0))
        return self.node("Round", self.node("Clip", shifted, self.scalar(0.0), self.scalar(255.0)))

    def bytes(self, source: tuple[str, Ends], target: Ends, last: str) -> bytes:
        """The finished model of one input and one output."""
        graph = helper.make_graph(
            self.nodes,
            "benchmark",
            [helper.make_tensor_value_info(source[0], *source[1])],
            [helper.make_tensor_value_info(last, *target)],
            self.weights,
        )
        opset = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def _unit(build: Builder) -> str:
    return build.node("Div", build.node("Cast", "image", to=TensorProto.FLOAT), build.scalar(255.0))


def _encoder(build: Builder) -> str:
    at = build.node("Flatten", _unit(build))
    for inside, outside in pairwise(WIDTHS[:-1]):
        at = build.node("Relu", build.dense(at, inside, outside))
    return build.dense(at, *WIDTHS[-2:])


def _decoder(build: Builder, at: str) -> str:
    for inside, outside in pairwise(WIDTHS[:0:-1]):
        at = build.node("Relu", build.dense(at, inside, outside))
    levels = build.node("Cast", build.grey(build.dense(at, WIDTHS[1], WIDTHS[0]), 64.0), to=TensorProto.UINT8)
    return build.node("Reshape", levels, build.weight(np.array([-1, SIDE, SIDE, 1])))


def dense_graphs() -> dict[Operation, bytes]:
    """784-512-128-32 and back, 944 thousand weights."""
    graphs: dict[Operation, bytes] = {}
    build = Builder(0)
    graphs["encode"] = build.bytes(("image", DIGIT), CODE, _encoder(build))
    build = Builder(1)
    graphs["decode"] = build.bytes(("code", CODE), DIGIT, _decoder(build, "code"))
    build = Builder(0)
    graphs["reconstruct"] = build.bytes(("image", DIGIT), DIGIT, _decoder(build, _encoder(build)))
    build = Builder(2)
    graphs["denoise"] = build.bytes(("image", DIGIT), DIGIT, _decoder(build, _encoder(build)))
    return graphs


def _convolutional(build: Builder, channels: int, width: int, layers: int, port: Ends) -> dict[Operation, bytes]:
    """Convolutions at half size between one of stride 2 and a rearrangement of channels into pixels."""
    at = build.conv(build.node("Transpose", _unit(build), perm=[0, 3, 1, 2]), channels, width, 2, 2)
    for _ in range(layers):
        at = build.conv(build.node("Relu", at), width, width)
    at = build.node("DepthToSpace", build.conv(build.node("Relu", at), width, 4 * channels), blocksize=2)
    levels = build.node("Cast", build.grey(at, 32.0), to=TensorProto.UINT8)
    return {"denoise": build.bytes(("image", port), port, build.node("Transpose", levels, perm=[0, 2, 3, 1]))}


def conv_graphs() -> dict[Operation, bytes]:
    """28x28 through four convolutions of 32 channels at half size: arithmetic that batches gain little on."""
    return _convolutional(Builder(3), 1, 32, 4, DIGIT)


def photo_graphs() -> dict[Operation, bytes]:
    """Colour pictures of any even size: eight convolutions of 48 channels at half size, 43 GMACs a megapixel."""
    return _convolutional(Builder(4), 3, 48, 8, PHOTO)


def publish(folder: Path, name: str, graphs: dict[Operation, bytes], probe_input: Array) -> None:
    """Write folder/NAME/1; `given` is its probe, N first."""
    target = folder / name / "1"
    target.mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    for operation, data in graphs.items():
        (target / f"{operation}.onnx").write_bytes(data)
        shown = Session(graphs["encode"]).run(probe_input) if operation == "decode" else probe_input
        probe = {"input": to_tensor(shown), "output": to_tensor(Session(data).run(shown))}
        entries.append(
            {
                "operation": operation,
                "precision": "float32",
                "file": f"{operation}.onnx",
                "sha256": hashlib.sha256(data).hexdigest(),
                "probe": {side: tensor.model_dump() for side, tensor in probe.items()},
                "parity": [],
            }
        )
    any_size = name == "photo"
    side = None if any_size else SIDE
    fields = {
        "format": 1,
        "name": name,
        "version": 1,
        "family": "benchmark",
        "title": f"Untrained {name} net of the benchmark",
        "description": "",
        "licence": "Apache-2.0",
        "parameters": 1,
        "input": {"kind": "image", "height": side, "width": side, "channels": probe_input.shape[3]},
        "code": {"shape": [WIDTHS[-1]]},
        "graphs": entries,
        "receptive_radius": 20 if any_size else None,
        "stride": 2 if any_size else None,
        "error_percentiles": [at / 100 for at in range(101)],
        "recipe": {},
        "data": {"name": "none", "sha256": "0" * 64, "count": 1, "licence": "CC0"},
        "quality": {"data": "none", "figures": {}, "baselines": {}},
        "made": {"versions": {}, "opset": 18, "seed": 0, "seconds": 0.0, "date": "2026-01-01"},
    }
    (target / CARD_FILE).write_text(Card.model_validate_json(json.dumps(fields)).model_dump_json())


def publish_all(folder: Path) -> None:
    """All fixture models below the folder."""
    publish(folder, "dense", dense_graphs(), digits(1))
    publish(folder, "conv", conv_graphs(), digits(1))
    publish(folder, "photo", photo_graphs(), photo()[np.newaxis, :64, :64])

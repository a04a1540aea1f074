"""Tiny models made without torch: graphs whose outputs can be computed by hand. Imports onnx and the card."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.card import CARD_FILE, Card, Operation
from service.runtime.session import Session
from service.runtime.tensors import to_tensor

Array = NDArray[Any]
SIDE, FEATURES, CODE = 8, 3, 4
MATRIX = np.random.default_rng(7).normal(size=(SIDE * SIDE, CODE)).astype(np.float32) / 8

Ends = tuple[int, list[int | str]]  # element type and shape of a port
Port = tuple[str, Ends]
IMAGE: Ends = (TensorProto.UINT8, ["n", SIDE, SIDE, 1])
ANY_IMAGE: Ends = (TensorProto.UINT8, ["n", "h", "w", 3])
CODES: Ends = (TensorProto.FLOAT, ["n", CODE])
VECTOR: Ends = (TensorProto.FLOAT, ["n", FEATURES])


def graph(
    nodes: list[Any],
    source: Port | list[Port],
    target: Port | list[Port],
    **weights: Array,
) -> bytes:
    """Return a serialised model with one or several inputs and outputs."""
    sources = source if isinstance(source, list) else [source]
    targets = target if isinstance(target, list) else [target]
    proto = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(port[0], *port[1]) for port in sources],
        [helper.make_tensor_value_info(port[0], *port[1]) for port in targets],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    """Return a node; `inputs` are separated by blanks."""
    return helper.make_node(kind, inputs.split(), [output], **attributes)


TO_CODE = [
    node("Cast", "image", "float", to=TensorProto.FLOAT),
    node("Div", "float white", "unit"),
    node("Flatten", "unit", "flat"),
    node("MatMul", "flat matrix", "code"),
]
FROM_CODE = [
    node("MatMul", "code back", "pixels"),
    node("Clip", "pixels zero one", "clipped"),
    node("Mul", "clipped white", "grey"),
    node("Round", "grey", "round"),
    node("Cast", "round", "bytes", to=TensorProto.UINT8),
    node("Reshape", "bytes shape", "out"),
]
ENCODER: dict[str, Array] = {"white": np.full((), 255, np.float32), "matrix": MATRIX}
DECODER: dict[str, Array] = {
    "back": np.linalg.pinv(MATRIX).astype(np.float32),
    "zero": np.zeros((), np.float32),
    "one": np.ones((), np.float32),
    "white": np.full((), 255, np.float32),
    "shape": np.array([-1, SIDE, SIDE, 1]),
}


def encode_oracle(image: Array) -> Array:
    """Return the output of the tiny encoder, computed by numpy."""
    return (image.reshape(len(image), -1) / np.float32(255)) @ MATRIX


def digit_graphs() -> dict[Operation, bytes]:
    """Encode 8x8 grey pictures as 4 numbers and decode them; denoise inverts, so that it differs from reconstruct."""
    return {
        "encode": graph(TO_CODE, ("image", IMAGE), ("code", CODES), **ENCODER),
        "decode": graph(FROM_CODE, ("code", CODES), ("out", IMAGE), **DECODER),
        "reconstruct": graph([*TO_CODE, *FROM_CODE], ("image", IMAGE), ("out", IMAGE), **{**ENCODER, **DECODER}),
        "denoise": graph([node("BitwiseNot", "image", "out")], ("image", IMAGE), ("out", IMAGE)),
    }


def photo_graphs() -> dict[Operation, bytes]:
    """Invert colour pictures of any size."""
    return {"denoise": graph([node("BitwiseNot", "image", "out")], ("image", ANY_IMAGE), ("out", ANY_IMAGE))}


def vector_graphs() -> dict[Operation, bytes]:
    """Encode three numbers with a zero appended, decode them without it, reconstruct their halves."""
    pad = graph([node("Pad", "vector pads", "code")], ("vector", VECTOR), ("code", CODES), pads=np.array([0, 0, 0, 1]))
    cut = graph(
        [node("Slice", "code starts ends axes", "out")],
        ("code", CODES),
        ("out", VECTOR),
        starts=np.array([0]),
        ends=np.array([3]),
        axes=np.array([1]),
    )
    half = graph(
        [node("Mul", "vector half", "out")], ("vector", VECTOR), ("out", VECTOR), half=np.full(1, 0.5, np.float32)
    )
    return {"encode": pad, "decode": cut, "reconstruct": half}


def sample(operation: Operation, name: str) -> Array:
    """Return one input of an operation of a tiny model."""
    random = np.random.default_rng(3)
    if operation == "decode":
        return random.normal(size=(1, CODE)).astype(np.float32)
    if name == "points":
        return random.normal(size=(1, FEATURES)).astype(np.float32)
    shape = (1, 5, 7, 3) if name in ("photos", "levels") else (1, SIDE, SIDE, 1)
    return random.integers(0, 256, shape, np.uint8)


def level_graphs() -> dict[Operation, bytes]:
    """Subtract 20 grey levels times the strength; the noise of a pixel is a tenth of its red."""
    nodes = [
        node("Cast", "image", "float", to=TensorProto.FLOAT),
        node("Reshape", "strength column", "strengths"),
        node("Mul", "strengths twenty", "removed"),
        node("Sub", "float removed", "less"),
        node("Clip", "less zero white", "clipped"),
        node("Cast", "clipped", "out", to=TensorProto.UINT8),
        node("Gather", "float first", "red", axis=3),
        node("Mul", "red tenth", "sigma"),
        node("Mul", "sigma sigma", "noise_variance"),
    ]
    return {
        "denoise": graph(
            nodes,
            [("image", ANY_IMAGE), ("strength", (TensorProto.FLOAT, ["n"]))],
            [("out", ANY_IMAGE), ("noise_variance", (TensorProto.FLOAT, ["n", "h", "w"]))],
            column=np.array([-1, 1, 1, 1]),
            twenty=np.full((), 20, np.float32),
            zero=np.zeros((), np.float32),
            white=np.full((), 255, np.float32),
            first=np.array(0),
            tenth=np.full((), 1 / 2550, np.float32),
        )
    }


STRENGTH = {"name": "strength", "title": "", "unit": "", "minimum": 1.0, "maximum": 2.0, "default": 1.0}
LEVELS: dict[str, Any] = {"format": 2, "controls": [STRENGTH], "noise_map": True, "receptive_radius": 0, "stride": 1}
"""Fields of the card of `level_graphs`. It is not among GRAPHS, so that the models of most tests stay simple."""

GRAPHS = {"digits": digit_graphs, "photos": photo_graphs, "points": vector_graphs}
INPUTS: dict[str, dict[str, Any]] = {
    "digits": {"kind": "image", "height": SIDE, "width": SIDE, "channels": 1},
    "photos": {"kind": "image", "height": None, "width": None, "channels": 3},
    "points": {"kind": "vector", "features": FEATURES},
    "levels": {"kind": "image", "height": None, "width": None, "channels": 3},
}


def publish(models: Path, kind: str, *, name: str = "", version: int = 1, **changes: Any) -> Path:
    """Write models/<name>/<version>/ for a kind of tiny model; `changes` replace fields of its card."""
    name = name or kind
    folder = models / name / str(version)
    beside = models / name / f".{version}"
    beside.mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    changes = {**LEVELS, **changes} if kind == "levels" else changes
    graphs = level_graphs() if kind == "levels" else GRAPHS[kind]()
    for operation, data in graphs.items():
        (beside / f"{operation}.onnx").write_bytes(data)
        probe_input = sample(operation, kind)
        probe = {
            "input": to_tensor(probe_input),
            "output": to_tensor(Session(data, controls={"strength": 1.0}).run(probe_input)),
        }
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
    fields: dict[str, Any] = {
        "format": 1,
        "name": name,
        "version": version,
        "family": "tiny",
        "title": f"Tiny {kind}",
        "description": "",
        "licence": "Apache-2.0",
        "parameters": 1,
        "input": INPUTS[kind],
        "code": {"shape": [CODE]},
        "graphs": entries,
        "receptive_radius": 0 if kind == "photos" else None,
        "stride": 1 if kind == "photos" else None,
        "error_percentiles": [at / 100 for at in range(101)],
        "recipe": {},
        "data": {"name": "none", "sha256": "0" * 64, "count": 1, "licence": "CC0"},
        "quality": {"data": "none", "figures": {}, "baselines": {}},
        "made": {"versions": {}, "opset": 18, "seed": 0, "seconds": 0.0, "date": "2026-01-01"},
    }
    card = Card.model_validate_json(json.dumps(fields | changes))
    (beside / CARD_FILE).write_text(card.model_dump_json())
    beside.rename(folder)
    return folder

"""Ways to corrupt a model version on disk, with words of the reason for its rejection."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from service.card import CARD_FILE
from tests.support.tiny_models import CODE, CODES, ENCODER, IMAGE, MATRIX, SIDE, TO_CODE, graph, node

Ends = tuple[int, list[int | str]]
Spoil = Callable[[Path], object]
OTHER: Ends = (2, ["n", SIDE, SIDE + 1, 1])


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewrite(**changes: Any) -> Spoil:
    """Replace fields of the card."""

    def spoil(folder: Path) -> None:
        card = json.loads((folder / CARD_FILE).read_text())
        (folder / CARD_FILE).write_text(json.dumps(card | changes))

    return spoil


def card_of(data: bytes) -> Spoil:
    """Replace the bytes of the card."""
    return lambda folder: (folder / CARD_FILE).write_bytes(data)


def card_cut(folder: Path) -> None:
    (folder / CARD_FILE).write_bytes((folder / CARD_FILE).read_bytes()[:99])


def probe(side: str, **changes: Any) -> Spoil:
    """Replace the input or output of the probe of the first graph."""

    def spoil(folder: Path) -> None:
        card = json.loads((folder / CARD_FILE).read_text())
        card["graphs"][0]["probe"][side] |= changes
        (folder / CARD_FILE).write_text(json.dumps(card))

    return spoil


def replace(file: str, make: Spoil) -> Spoil:
    """Replace a file with something that is no regular file."""

    def spoil(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return spoil


def link(target: str) -> Spoil:
    return replace("encode.onnx", lambda path: path.symlink_to(target))


def huge(path: Path) -> None:
    """Write a sparse file of a terabyte of zeros."""
    path.touch()
    os.truncate(path, 1 << 40)


def other(data: bytes) -> Spoil:
    """Replace the encoder, and its hash in the card."""

    def spoil(folder: Path) -> None:
        (folder / "encode.onnx").write_bytes(data)
        card = json.loads((folder / CARD_FILE).read_text())
        card["graphs"][0]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / CARD_FILE).write_text(json.dumps(card))

    return spoil


def encoder(nodes: list[Any] | None = None, **weights: Any) -> bytes:
    return graph(nodes or TO_CODE, ("image", IMAGE), ("code", CODES), **{**ENCODER, **weights})


def changed(change: Callable[[onnx.ModelProto], object]) -> Spoil:
    """Change the protobuf of the encoder."""
    model = onnx.load_from_string(encoder())
    change(model)
    return other(model.SerializeToString())


def with_zeros(count: int) -> Spoil:
    """Add a sum of zeros to the encoder."""
    zeros = [node("ConstantOfShape", "count", "zeros"), node("ReduceSum", "zeros", "sum", keepdims=0)]
    nodes = [*TO_CODE[:-1], node("MatMul", "flat matrix", "before"), *zeros, node("Add", "before sum", "code")]
    return other(encoder(nodes, count=np.array([count])))


def set_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def set_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def set_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Nonsense"


def set_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].dims[:] = [1 << 40, CODE]


def other_graph() -> bytes:
    return graph([node("BitwiseNot", "image", "out")], ("image", OTHER), ("out", OTHER))


def weights(value: float) -> Spoil:
    """Set one weight of the encoder to NaN."""
    matrix = MATRIX.copy()
    matrix[3, 2] = value
    return other(encoder(matrix=matrix))


NO_NUMBERS = base64.b64encode(np.full(CODE, np.nan, np.float32).tobytes()).decode()

BAD: dict[str, tuple[Spoil, str]] = {
    "bit flipped": (lambda folder: flip(folder / "encode.onnx"), "SHA-256"),
    "graph missing": (lambda folder: (folder / "encode.onnx").unlink(), "cannot be opened: No such file"),
    "graph empty": (lambda folder: (folder / "encode.onnx").write_bytes(b""), "SHA-256"),
    "graph a link": (link("/etc/passwd"), "cannot be opened: it is a symbolic link"),
    "graph a link to itself": (link("encode.onnx"), "cannot be opened: it is a symbolic link"),
    "graph a link to a device": (link("/dev/zero"), "cannot be opened: it is a symbolic link"),
    "graph a folder": (replace("encode.onnx", Path.mkdir), "encode.onnx is not a regular file"),
    "graph a pipe": (replace("encode.onnx", os.mkfifo), "encode.onnx is not a regular file"),
    "graph of a terabyte": (replace("encode.onnx", huge), "encode.onnx is larger than 2 GiB"),
    "graph of HTML": (other(b"<html></html>"), "encode.onnx is not an ONNX model"),
    "graph a pickle": (other(b"\x80\x04\x95\x1f"), "No graph was found"),
    "card missing": (lambda folder: (folder / CARD_FILE).unlink(), "card.json cannot be opened"),
    "card a folder": (replace(CARD_FILE, Path.mkdir), "card.json is not a regular file"),
    "card a pipe": (replace(CARD_FILE, os.mkfifo), "card.json is not a regular file"),
    "card empty": (card_of(b""), "card.json: Invalid JSON"),
    "card cut": (card_cut, "card.json: Invalid JSON"),
    "card not UTF-8": (card_of(b"\xff\xfe"), "card.json: Invalid JSON"),
    "card of depth 100000": (card_of(b"[" * 100_000), "card.json: Invalid JSON"),
    "card of 20 MB": (card_of(b'{"format":1,"title":"' + b"x" * 20_000_000 + b'"}'), "card.json: name: Field required"),
    "unknown field": (rewrite(colour="red"), "colour"),
    "future format": (rewrite(format=3), "format"),
    "card of another": (rewrite(name="other"), "the card is for other"),
    "lying shape": (other(other_graph()), "the card says"),
    "other weights": (other(encoder(matrix=MATRIX + 1)), "does not reproduce its probe"),
    "a weight NaN": (weights(float("nan")), "does not reproduce its probe"),
    "a weight infinite": (weights(float("inf")), "does not reproduce its probe"),
    "probe of no numbers": (
        probe("output", data=NO_NUMBERS),
        "does not reproduce its probe",
    ),
    "probe too short": (probe("input", data=""), "the size of a probe's data does not match its shape"),
    "probe of 2^80": (probe("input", shape=[1 << 40, 1 << 40]), "the size of a probe's data does not match its shape"),
    "IR too new": (changed(set_ir), "Unsupported model IR version: 99, max supported"),
    "opset too new": (changed(set_opset), "official support for domain ai.onnx is till opset"),
    "unknown operator": (changed(set_operator), "No Op registered for Nonsense"),
    "weights not there": (changed(set_weight), "onnxruntime"),
    "4 TiB of zeros": (with_zeros(1 << 40), "fails on its probe"),
    "more zeros than bytes": (with_zeros(1 << 62), "fails on its probe"),
}

"""Reads a model that another program wrote: an ONNX file of any age, or a program saved by `torch.export`.

The result is one ONNX model without external weights, local functions or old operators.
"""

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
from onnx import external_data_helper, inliner, version_converter

from training.errors import ImportRejected
from training.export.onnx_graph import OPSET

OLDEST_OPSET = 15
"""Operator sets below this are converted to OPSET: the pre- and postprocessing needs the operators of this one."""
MAX_BYTES = (1 << 31) - 1
"""Largest ONNX file with its weights inside, because protobuf cannot hold more."""
STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
RANDOM_OPERATORS = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}
ADVICE = {
    ".pt": "torch.save",
    ".pth": "torch.save",
    ".ckpt": "Lightning or TensorFlow",
    ".pkl": "pickle",
    ".joblib": "joblib",
    ".h5": "Keras",
    ".keras": "Keras",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".safetensors": "safetensors",
    ".mlmodel": "Core ML",
}
"""The programs that write files of other formats, by suffix."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model as it was read.

    Attributes:
        file: its name.
        sha256: the hash of the file; of the weights in other files, too, if it has any.
        model: the ONNX model, complete and of an operator set of at least OLDEST_OPSET.
        notes: what was changed while reading, one sentence each.
    """

    file: str
    sha256: str
    model: onnx.ModelProto
    notes: tuple[str, ...] = ()


def read_source(path: Path) -> Source:
    """Read a `.onnx` or `.pt2` file. Raises ImportRejected with the way out for anything else."""
    if not path.is_file():
        raise ImportRejected(f"{path} does not exist or is not a file: pass the path of a .onnx or .pt2 file")
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        return _read_exported_program(path)
    if suffix in ADVICE:
        raise ImportRejected(
            f"{path} was written by {ADVICE[suffix]} and may hold code or lack the structure of the net: convert it to "
            "ONNX where it was trained (torch.onnx.export, tf2onnx, skl2onnx), or pass the net to "
            "training.workspace.Workspace.publish_module"
        )
    return _read_onnx(path)


def from_bytes(content: bytes, file: str) -> Source:
    """Read a serialized ONNX model without external weights."""
    return _complete(onnx.load_from_string(content), file, hashlib.sha256(content).hexdigest())


def _read_onnx(path: Path) -> Source:
    digest = hashlib.sha256(path.read_bytes())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = onnx.load(path, load_external_data=False)
        external = sorted(set(_external_files(model)))
        missing = [name for name in external if not (path.parent / name).is_file()]
        if missing:
            raise ImportRejected(
                f"{path} keeps its weights in {missing[0]}, which is missing: copy that file beside it"
            )
        onnx.load_external_data_for_model(model, str(path.parent))  # it refuses files outside this folder
        for name in external:
            digest.update((path.parent / name).read_bytes())
    except ImportRejected:
        raise
    except Exception as error:  # protobuf, onnx and the file system raise a dozen classes for broken files
        raise ImportRejected(f"{path} is not an ONNX file, or is damaged: export the model again ({error})") from error
    if not model.graph.node:
        raise ImportRejected(f"{path} is not an ONNX file, or has no operators: export the model again")
    notes = (f"the weights in {', '.join(external)} are now part of the graph",) if external else ()
    return _complete(model, path.name, digest.hexdigest(), notes)


def _external_files(model: onnx.ModelProto) -> Iterator[str]:
    for tensor in external_data_helper._get_all_tensors(model):  # noqa: SLF001 - onnx has no public iterator
        if external_data_helper.uses_external_data(tensor):
            yield next(entry.value for entry in tensor.external_data if entry.key == "location")


def _read_exported_program(path: Path) -> Source:
    import torch

    content = path.read_bytes()
    try:
        program = torch.export.load(str(path))
    except Exception as error:  # zipfile, json and torch raise many classes for files that are no programs
        raise ImportRejected(f"{path} was not saved by torch.export.save: export the net again ({error})") from error
    return export_program(program, path.name, hashlib.sha256(content).hexdigest())


def export_program(program: Any, file: str, sha256: str) -> Source:
    """Convert an exported program of torch to ONNX. Raises ImportRejected if an operator cannot be converted."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False)
    except Exception as error:  # the exporter has no common class
        raise ImportRejected(f"{file} cannot be converted to ONNX: {str(error).splitlines()[0]}") from error
    if exported is None:
        raise ImportRejected(f"{file} cannot be converted to ONNX")
    return _complete(exported.model_proto, file, sha256, ("converted from torch.export by torch.onnx",))


def from_module(net: Any, example: Any) -> Source:
    """Export a `torch.nn.Module` by tracing it with a batch. Raises ImportRejected if it cannot be exported.

    The batch and the sides of images stay free unless the net fixes them.
    """
    import torch

    batch = example if len(example) > 1 else torch.cat([example, example])  # torch.export fixes a batch of one
    free = dict.fromkeys([0, *range(1, example.ndim)] if example.ndim == 4 else [0], torch.export.Dim.AUTO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(net.eval(), (batch,), dynamic_shapes=(free,))
    except Exception as error:  # torch.export raises many classes, some private
        raise ImportRejected(
            f"{type(net).__name__} cannot be traced by torch.export: {str(error).splitlines()[0]}; export it to ONNX "
            "yourself and import the file"
        ) from error
    source = export_program(program, type(net).__name__, "")
    digest = hashlib.sha256(source.model.SerializeToString(deterministic=True)).hexdigest()
    return replace(source, sha256=digest)


def _complete(model: onnx.ModelProto, file: str, sha256: str, notes: tuple[str, ...] = ()) -> Source:
    """Inline local functions, check the operators, and raise the operator set."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    unknown = sorted(
        {f"{node.domain}.{node.op_type}" for node in _nodes(model.graph) if node.domain not in STANDARD_DOMAINS}
    )
    if unknown:
        raise ImportRejected(
            f"{file} uses operators that onnxruntime does not contain ({', '.join(unknown[:5])}): export it with "
            "standard ONNX operators"
        )
    random = sorted({node.op_type for node in _nodes(model.graph) if node.op_type in RANDOM_OPERATORS})
    if random:
        raise ImportRejected(
            f"{file} draws random numbers ({', '.join(random)}), so that its answers differ each time: export it in "
            "eval mode, and a variational net without its sampling"
        )
    opset = next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), OPSET)
    if opset < OLDEST_OPSET:
        model, notes = _raise_opset(model, opset, file), (*notes, f"operator set {opset} was raised to {OPSET}")
    if model.ByteSize() > MAX_BYTES:
        raise ImportRejected(f"{file} has more than 2 GiB of weights, which one ONNX file cannot hold: use float16")
    _strip(model)
    return Source(file, sha256, model, notes)


def _raise_opset(model: onnx.ModelProto, opset: int, file: str) -> onnx.ModelProto:
    try:
        converted = version_converter.convert_version(model, OPSET)
    except Exception as error:  # a class of C++ for each operator that has no adapter
        raise ImportRejected(
            f"{file} uses operator set {opset}, and it cannot be raised to {OPSET} ({error}): export it with an "
            f"operator set of at least {OLDEST_OPSET}"
        ) from error
    converted.ir_version = max(converted.ir_version, 8)
    return converted


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for part in (attribute.g, *attribute.graphs):
                yield from _nodes(part)


def operators(model: onnx.ModelProto) -> list[str]:
    """Return the types of all operators of a model, in order and with repetition."""
    return [node.op_type for node in _nodes(model.graph)]


def _strip(model: onnx.ModelProto) -> None:
    """Remove inferred shapes, which fixed sizes make wrong, and names of files of the machine that exported it."""
    model.graph.ClearField("value_info")
    for part in (model.graph, *model.graph.node, *model.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")

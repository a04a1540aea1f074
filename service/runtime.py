"""ONNX graphs in onnxruntime: provider and why, threads and why, proof on loading, run.

The only file that imports onnxruntime. Knows the card, nothing of stores, callers or HTTP.
"""

import base64
import hashlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from service.card import Card, Graph, ImageInput, Tensor
from service.errors import ModelRefused
from service.graph import check
from service.hardware import Choice
from service.regular import read_bytes

# Read when onnxruntime is imported: without it the wheels from 1.29 on send usage data over the network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

Array = NDArray[Any]
Device = Literal["auto", "cpu", "cuda"]

# Grey levels that a graph may be off its probe: in 8 bits a processor's own rounding may move the next layer's.
PROBE_LEVELS = {"float32": 1.0, "int8": 8.0}

CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # the default searches anew for every batch size
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # 10 bits of mantissa would fail the probe
}


@dataclass(frozen=True, slots=True)
class Port:
    """One side of a graph: its tensor's name, type and shape; None and names are free sides."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class DeviceUnavailable(Exception):
    """The device that the settings insist on cannot be used; the service must not start without it."""


def choose_device(wanted: Device) -> Choice[Literal["cpu", "cuda"]]:
    """Whether to try CUDA. Raises DeviceUnavailable when `cuda` is wanted and this build has none.

    That the build lists CUDA does not mean that it works: each Session checks again.
    """
    built = "CUDAExecutionProvider" in ort.get_available_providers()
    if wanted == "cpu":
        return Choice("cpu", "asked for")
    if wanted == "cuda":
        if not built:
            raise DeviceUnavailable("device is cuda, but this onnxruntime has no CUDA: install the gpu extra")
        return Choice("cuda", "asked for")
    return Choice("cuda", "found by auto") if built else Choice("cpu", "auto: this onnxruntime has no CUDA")


class Session:
    """One ONNX graph, ready to run from any thread.

    `threads`: per run, never spinning. `free_sizes`: pictures of any size come; memory is planned for none of them.
    Raises DeviceUnavailable where CUDA was asked for and does not work, ModelRefused on a graph that won't load.
    """

    def __init__(self, model: bytes, *, device: Device = "cpu", threads: int = 1, free_sizes: bool = False) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = not free_sizes
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        tried = choose_device(device)
        self._session = _create(model, options, tried.value)
        if tried.value == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            if device == "cuda":
                raise DeviceUnavailable("device is cuda, but onnxruntime could not use it: see its log line above")
            tried = Choice("cpu", "auto: this onnxruntime has CUDA, but could not use it")
        self._giving_back = ort.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.device = tried
        self.input = _port(self._session.get_inputs())
        self.output = _port(self._session.get_outputs())

    def run(self, batch: Array) -> Array:
        """The outputs of a batch (N first), in the types of the graph's ports."""
        return cast("Array", self._session.run([self.output.name], {self.input.name: batch})[0])

    def shrink(self, batch: Array) -> None:
        """Gives back, after a run of this batch, what earlier ones took and it did not."""
        self._session.run([self.output.name], {self.input.name: batch}, self._giving_back)

    def seconds(self, batch: Array, rounds: int = 3) -> float:
        """The fastest of some runs, after one to warm up."""
        self.run(batch)
        times: list[float] = []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(batch)
            times.append(time.perf_counter() - start)
        return min(times)


def _create(model: bytes, options: ort.SessionOptions, device: Literal["cpu", "cuda"]) -> ort.InferenceSession:
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        ort.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a bad graph
        said = re.split(r"\) | : ", str(error).strip())[-1].strip(" ,")[:500]  # without the place in its source
        raise ModelRefused(f"onnxruntime {ort.__version__} cannot load the graph: {said}") from error


def _port(ports: Sequence[ort.NodeArg]) -> Port:
    if len(ports) != 1:
        raise ModelRefused(f"a graph has one input and one output, this one has {len(ports)} on a side")
    (port,) = ports
    shape = tuple(side if isinstance(side, int) else None for side in port.shape)
    return Port(port.name, port.type.removeprefix("tensor(").removesuffix(")"), shape)


def open_graph(folder: Path, card: Card, graph: Graph, *, device: Device = "cpu", threads: int = 1) -> Session:
    """The graph of a card, proven: its hash, its ports and its probe are what the card says.

    The bytes that were hashed are the bytes that are loaded. Raises ModelRefused with the reason.
    """
    model = read_bytes(folder / graph.file)
    if hashlib.sha256(model).hexdigest() != graph.sha256:
        raise ModelRefused(f"{graph.file} does not have the SHA-256 of the card")
    check(model, graph.file)
    free_sizes = isinstance(card.input, ImageInput) and card.input.height is None
    session = Session(model, device=device, threads=threads, free_sizes=free_sizes)
    wanted_in, wanted_out = ports(card, graph)
    for found, wanted in ((session.input, wanted_in), (session.output, wanted_out)):
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise ModelRefused(
                f"{graph.file}: {wanted.name} is {found.dtype}{list(found.shape)}, "
                f"the card says {wanted.dtype}{list(wanted.shape)}"
            )
    _prove(session, graph)
    return session


def ports(card: Card, graph: Graph) -> tuple[Port, Port]:
    """What the card promises of a graph's input and output; N is always free."""
    code = Port("code", "float", (None, *card.code.shape))
    if isinstance(card.input, ImageInput):
        data = Port("image", "uint8", (None, card.input.height, card.input.width, card.input.channels))
    else:
        data = Port("vector", "float", (None, card.input.features))
    return (code if graph.operation == "decode" else data), (code if graph.operation == "encode" else data)


def to_array(tensor: Tensor) -> Array:
    """The array that a card's tensor holds. Raises ModelRefused when its bytes don't fill its shape."""
    try:
        return np.frombuffer(base64.b64decode(tensor.data), np.dtype(tensor.dtype)).reshape(tensor.shape)
    except ValueError as error:
        raise ModelRefused("a probe's bytes do not fill its shape") from error


def to_tensor(array: Array) -> Tensor:
    """The array as a card's tensor; uint8 or float32."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    dtype: Literal["uint8", "float32"] = "uint8" if array.dtype == np.uint8 else "float32"
    return Tensor(dtype=dtype, shape=list(array.shape), data=data)


def difference(found: Array, wanted: Array) -> float:
    """Grey levels between pictures; between floats the largest difference relative to the largest magnitude."""
    if found.shape != wanted.shape or not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return float("inf")
    gap = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())
    return gap if wanted.dtype == np.uint8 else gap / max(float(np.abs(wanted).max()), 1e-12)


def _prove(session: Session, graph: Graph) -> None:
    given, wanted = to_array(graph.probe.input), to_array(graph.probe.output)
    try:
        found = session.run(given)
    except Exception as error:  # onnxruntime's own classes; the probe's shape or the graph is at fault
        raise ModelRefused(f"{graph.file} fails on its probe: {type(error).__name__}") from error
    bound = PROBE_LEVELS[graph.precision] if wanted.dtype == np.uint8 else 1e-3
    if difference(found, wanted) > bound:
        raise ModelRefused(f"{graph.file} does not reproduce its probe")

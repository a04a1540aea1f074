"""ONNX graphs in onnxruntime: provider and why, threads and why, proof on loading, run.

The only file that imports onnxruntime. Knows the card, nothing of stores, callers or HTTP.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from service.errors import ModelRejected
from service.runtime.hardware import Choice

# Read when onnxruntime is imported: without it the wheels from 1.29 on send usage data over the network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from service.types import Array

Device = Literal["auto", "cpu", "cuda"]


CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # the default searches anew for every batch size
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # 10 bits of mantissa would fail the probe
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One side of a graph: its tensor's name, type and shape; None and names are free sides."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class DeviceUnavailable(Exception):
    """The device that the settings insist on cannot be used; the service must not start without it."""


def choose_device(requested: Device) -> Choice[Literal["cpu", "cuda"]]:
    """Whether to try CUDA. Raises DeviceUnavailable when `cuda` is wanted and this build has none.

    That the build lists CUDA does not mean that it works: each Session checks again.
    """
    built = "CUDAExecutionProvider" in ort.get_available_providers()
    if requested == "cpu":
        return Choice("cpu", "asked for")
    if requested == "cuda":
        if not built:
            raise DeviceUnavailable("device is cuda, but this onnxruntime has no CUDA: install the gpu extra")
        return Choice("cuda", "asked for")
    return Choice("cuda", "found by auto") if built else Choice("cpu", "auto: this onnxruntime has no CUDA")


class Session:
    """One ONNX graph, ready to run from any thread.

    `threads`: per run, never spinning. `free_sizes`: pictures of any size come; memory is planned for none of them.
    Raises DeviceUnavailable where CUDA was asked for and does not work, ModelRefused on a graph that won't load.
    """

    def __init__(
        self, model: bytes, *, device: Device = "cpu", intra_op_threads: int = 1, free_sizes: bool = False
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = not free_sizes
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        tried = choose_device(device)
        self._session = _create_session(model, options, tried.value)
        if tried.value == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            if device == "cuda":
                raise DeviceUnavailable("device is cuda, but onnxruntime could not use it: see its log line above")
            tried = Choice("cpu", "auto: this onnxruntime has CUDA, but could not use it")
        self._shrink_options = ort.RunOptions()
        self._shrink_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.device = tried
        self.input = _tensor_spec(self._session.get_inputs())
        self.output = _tensor_spec(self._session.get_outputs())

    def run(self, batch: Array) -> Array:
        """The outputs of a batch (N first), in the types of the graph's ports."""
        return cast("Array", self._session.run([self.output.name], {self.input.name: batch})[0])

    def release_memory(self, batch: Array) -> None:
        """Gives back, after a run of this batch, what earlier ones took and it did not."""
        self._session.run([self.output.name], {self.input.name: batch}, self._shrink_options)

    def time_run(self, batch: Array, rounds: int = 3) -> float:
        """The fastest of some runs, after one to warm up."""
        self.run(batch)
        times: list[float] = []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(batch)
            times.append(time.perf_counter() - start)
        return min(times)


def _create_session(model: bytes, options: ort.SessionOptions, device: Literal["cpu", "cuda"]) -> ort.InferenceSession:
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        ort.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a bad graph
        said = re.split(r"\) | : ", str(error).strip())[-1].strip(" ,")[:500]  # without the place in its source
        raise ModelRejected(f"onnxruntime {ort.__version__} cannot load the graph: {said}") from error


def _tensor_spec(ports: Sequence[ort.NodeArg]) -> TensorSpec:
    if len(ports) != 1:
        raise ModelRejected(f"a graph has one input and one output, this one has {len(ports)} on a side")
    (port,) = ports
    shape = tuple(side if isinstance(side, int) else None for side in port.shape)
    return TensorSpec(port.name, port.type.removeprefix("tensor(").removesuffix(")"), shape)

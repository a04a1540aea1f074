"""Loads and runs ONNX graphs. Only this module imports onnxruntime."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from service.errors import ModelRejected
from service.runtime.hardware import Choice

# onnxruntime reads this variable on import. Without it, wheels since 1.29 send usage data over the network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime as ort

from service.types import Array

Device = Literal["auto", "cpu", "cuda"]

CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # the default repeats the search for every batch size
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # TF32 has 10 bits of mantissa, which is too inexact for the probe
}


# A serialized model with one Identity node, float32 of shape (1,). A test compares it with the output of `onnx`.
IDENTITY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of the input or output of a graph. A dimension of any size is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class MappedOutputs:
    """The two outputs of a graph with a noise map: `outputs` (N first), and `maps`, float32 (N, h, w)."""

    outputs: Array
    maps: Array


class DeviceUnavailable(Exception):
    """The device is set to `cuda`, but CUDA cannot be used. The service must not start."""


def choose_device(requested: Device) -> Choice[Literal["cpu", "cuda"]]:
    """Choose between CUDA and the CPU by what the installed onnxruntime supports.

    CUDA may still fail, for example without a GPU. `Session` checks that. Raises DeviceUnavailable if `requested` is
    `cuda` and onnxruntime was built without CUDA.
    """
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if requested == "cpu":
        return Choice("cpu", "set by configuration")
    if requested == "cuda":
        if not has_cuda:
            raise DeviceUnavailable("device is cuda, but this onnxruntime has no CUDA: install the gpu extra")
        return Choice("cuda", "set by configuration")
    if has_cuda:
        return Choice("cuda", "auto: this onnxruntime has CUDA")
    return Choice("cpu", "auto: this onnxruntime has no CUDA")


class Session:
    """One loaded ONNX graph. Its methods can be called from any thread.

    `intra_op_threads` is the number of threads of one run. Idle threads do not spin. Set `free_sizes` for images of any
    size, because onnxruntime would plan its memory for each size. `controls` are the default values of the inputs after
    the first, by name. Raises DeviceUnavailable if `device` is `cuda` and CUDA fails, and ModelRejected if the graph
    cannot be loaded or has an input without a default.
    """

    def __init__(
        self,
        model: bytes,
        *,
        device: Device = "cpu",
        intra_op_threads: int = 1,
        free_sizes: bool = False,
        controls: Mapping[str, float] | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = not free_sizes
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        choice = choose_device(device)
        self._session = _create_session(model, options, choice.value)
        if choice.value == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            if device == "cuda":
                raise DeviceUnavailable("device is cuda, but onnxruntime could not use it: see its log message above")
            choice = Choice("cpu", "auto: this onnxruntime has CUDA, but could not use it")
        self._shrink_options = ort.RunOptions()
        self._shrink_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.device = choice
        self.input, *controls_taken = _tensor_specs(self._session.get_inputs())
        self.output, *maps = _tensor_specs(self._session.get_outputs())
        self.controls = tuple(controls_taken)
        self.maps = tuple(maps)
        defaults = controls or {}
        for control in self.controls:
            if control.name not in defaults:
                raise ModelRejected(f"the graph has an input {control.name}, and the card has no control of that name")
        self.control_defaults = np.array([defaults[control.name] for control in self.controls], np.float32)

    def run(self, batch: Array, controls: Array | None = None) -> Array:
        """Run a batch (N first) of the shape and dtype of `input`, and return the outputs (N first) like `output`.

        `controls` are the values of the inputs `controls`, float32 (N, controls); without them, the defaults.
        """
        feeds = self._feeds(batch, controls) if self.controls else {self.input.name: batch}
        return cast("Array", self._session.run([self.output.name], feeds)[0])

    def run_with_map(self, batch: Array, controls: Array | None = None) -> MappedOutputs:
        """Run a batch as `run` does, and return the second output of the graph besides."""
        outputs, maps = self._session.run([self.output.name, self.maps[0].name], self._feeds(batch, controls))
        return MappedOutputs(cast("Array", outputs), cast("Array", maps))

    def _feeds(self, batch: Array, controls: Array | None) -> dict[str, Array]:
        values = np.tile(self.control_defaults, (len(batch), 1)) if controls is None else controls
        columns = {spec.name: np.ascontiguousarray(values[:, at]) for at, spec in enumerate(self.controls)}
        return {self.input.name: batch, **columns}

    def release_memory(self, batch: Array) -> None:
        """Run a batch once, and free the memory of the arena that this run did not need."""
        self._session.run([self.output.name], self._feeds(batch, None), self._shrink_options)

    def time_run(self, batch: Array, rounds: int = 3) -> float:
        """Return the seconds of the fastest of `rounds` runs of a batch, after one run to warm up."""
        self.run(batch)
        times: list[float] = []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(batch)
            times.append(time.perf_counter() - start)
        return min(times)


def check_cuda() -> None:
    """Create a session on CUDA and release it. Raises DeviceUnavailable if CUDA cannot be used."""
    Session(IDENTITY_MODEL, device="cuda")


def _create_session(model: bytes, options: ort.SessionOptions, device: Literal["cpu", "cuda"]) -> ort.InferenceSession:
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        ort.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime raises many unrelated classes for a bad graph
        # Remove the error code and the location in the source of onnxruntime.
        message = re.split(r"\) | : ", str(error).strip())[-1].strip(" ,")[:500]
        raise ModelRejected(f"onnxruntime {ort.__version__} cannot load the graph: {message}") from error


def _tensor_specs(nodes: Sequence[ort.NodeArg]) -> list[TensorSpec]:
    """Describe the inputs or outputs of a graph. Raises ModelRejected if there is none."""
    if not nodes:
        raise ModelRejected("a graph must have an input and an output, this graph lacks one of them")
    return [
        TensorSpec(
            node.name,
            node.type.removeprefix("tensor(").removesuffix(")"),
            tuple(side if isinstance(side, int) else None for side in node.shape),
        )
        for node in nodes
    ]

"""Loads and runs ONNX graphs. Only this module imports onnxruntime."""

import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from service.card import CROP_INPUT
from service.errors import ModelRejected
from service.runtime.hardware import Choice
from service.runtime.providers import (
    CPU,
    CUDA,
    SUFFIX,
    Device,
    DeviceUnavailable,
    Provider,
    assignment_reason,
    choose_provider,
)

# onnxruntime reads this variable on import. Without it, wheels since 1.29 send usage data over the network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime as ort

from service.types import Array, Crop

ON_CPU = Device()
# A serialized model with one Identity node, float32 of shape (1,). A test compares it with the output of `onnx`.
IDENTITY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)

# A serialized model with one MatMulInteger node: uint8 (n, 16) times int8 (16, 16), all 127, is int32 (n, 16).
SUMS_SIDE = 16
SUMS_MODEL = (
    b'\x08\x08:\xd8\x02\n\x18\n\x01x\n\x01w\x12\x01y"\rMatMulInteger\x12\x01g*\x8c\x02\x08\x10\x08\x10\x10\x03B\x01wJ\x80\x02'
    + b"\x7f" * SUMS_SIDE**2
    + b"Z\x14\n\x01x\x12\x0f\n\r\x08\x02\x12\t\n\x03\x12\x01n\n\x02\x08\x10"
    + b"b\x14\n\x01y\x12\x0f\n\r\x08\x06\x12\t\n\x03\x12\x01n\n\x02\x08\x10B\x04\n\x00\x10\r"
)

TILE_ARENA = {
    "max_mem": 0,
    "arena_extend_strategy": 0,
    "initial_chunk_size_bytes": 1 << 20,
    "max_dead_bytes_per_chunk": 1 << 20,
    "initial_growth_chunk_size_bytes": 64 << 20,
}
"""The arena of all graphs for images of any size. After a release its regions begin at 64 MiB and double.

With the default, 2 MiB, later tensors do not fit into the first regions: a tile of photo takes 311 MiB instead of 257.
"""


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


def installed_providers() -> list[str]:
    """Return the execution providers of the installed onnxruntime. Whether they work shows when one is used."""
    return ort.get_available_providers()


class Session:
    """One loaded ONNX graph. Its methods can be called from any thread.

    `intra_op_threads` is the number of threads of one run. Idle threads do not spin. Set `free_sizes` for images of any
    size, because onnxruntime would plan its memory for each size. `controls` are the default values of the inputs after
    the first, by name. `exact_int8` is for int8 graphs on processors where `int8_sums_overflow`. `crops` says whether
    the graph has the optional input `CROP_INPUT`.

    Raises DeviceUnavailable if `device` is required and its provider fails, and ModelRejected if the graph cannot be
    loaded, has an input without a default, or has no node for the required provider.
    """

    def __init__(
        self,
        model: bytes,
        *,
        device: Device = ON_CPU,
        intra_op_threads: int = 1,
        free_sizes: bool = False,
        controls: Mapping[str, float] | None = None,
        exact_int8: bool = False,
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = not free_sizes
        if free_sizes:  # frees some features earlier: a third less memory for a tile of photo-fast
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
            _register_tile_arena()
            options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if exact_int8:
            options.add_session_config_entry("session.x64quantprecision", "1")
        choice = choose_provider(device, installed_providers())
        self._session = _create_session(model, options, choice.value, required=device.is_required)
        self.device = _check_provider(self._session, choice, required=device.is_required)
        if self.device.value == CPU:  # nothing to fall back to, so the copy of the file is not needed any more
            vars(self._session)["_model_bytes"] = None
        self._shrink_options = ort.RunOptions()
        self._shrink_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.input, *controls_taken = _tensor_specs(self._session.get_inputs())
        self.output, *maps = _tensor_specs(self._session.get_outputs())
        optional = self._session.get_overridable_initializers()
        self.crops = free_sizes and any(node.name == CROP_INPUT for node in optional)
        self.controls = tuple(controls_taken)
        self.maps = tuple(maps)
        defaults = controls or {}
        for control in self.controls:
            if control.name not in defaults:
                raise ModelRejected(f"the graph has an input {control.name}, and the card has no control of that name")
        self.control_defaults = np.array([defaults[control.name] for control in self.controls], np.float32)

    def run(self, batch: Array, controls: Array | None = None, crop: Crop | None = None) -> Array:
        """Run a batch (N first) of the shape and dtype of `input`, and return the outputs (N first) like `output`.

        `controls` are the values of the inputs `controls`, float32 (N, controls); without them, the defaults. `crop`
        are the pixels of the outputs to leave out, for a graph that `crops`.
        """
        feeds = self._feeds(batch, controls, crop) if self.controls or crop else {self.input.name: batch}
        return cast("Array", self._session.run([self.output.name], feeds)[0])

    def run_with_map(self, batch: Array, controls: Array | None = None, crop: Crop | None = None) -> MappedOutputs:
        """Run a batch as `run` does, and return the second output of the graph besides, which is never cropped."""
        feeds = self._feeds(batch, controls, crop)
        outputs, maps = self._session.run([self.output.name, self.maps[0].name], feeds)
        return MappedOutputs(cast("Array", outputs), cast("Array", maps))

    def _feeds(self, batch: Array, controls: Array | None, crop: Crop | None = None) -> dict[str, Array]:
        feeds = {self.input.name: batch}
        if self.controls:
            values = np.tile(self.control_defaults, (len(batch), 1)) if controls is None else controls
            feeds |= {spec.name: np.ascontiguousarray(values[:, at]) for at, spec in enumerate(self.controls)}
        if crop is not None:
            feeds[CROP_INPUT] = np.array(crop, np.int64)
        return feeds

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


@cache
def _register_tile_arena() -> None:
    """Register the arena of sessions with `session.use_env_allocators`. onnxruntime allows that once in a process."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(TILE_ARENA))


def int8_sums_overflow(*, exact_int8: bool = False) -> bool:
    """Return whether sums of products of 8-bit numbers overflow on this processor, as computed with this option.

    Without VNNI, onnxruntime multiplies on x86 by `vpmaddubsw`, whose sums of two products saturate at 16 bits. With
    `exact_int8` it makes the weights unsigned and takes slower instructions.
    """
    ones = np.full((2, SUMS_SIDE), 255, np.uint8)
    sums = Session(SUMS_MODEL, exact_int8=exact_int8).run(ones)
    return bool((sums != SUMS_SIDE * 255 * 127).any())


def runs_on_cpu(device: Device) -> bool:
    """Return whether graphs run on the CPU. Raises DeviceUnavailable if the device is not installed."""
    return choose_provider(device, installed_providers()).value.device == CPU


def check_device(device: Device) -> None:
    """Create a small session on a required device and release it. Raises DeviceUnavailable if it cannot be used."""
    provider = choose_provider(device, installed_providers()).value
    try:
        session = _create_session(IDENTITY_MODEL, ort.SessionOptions(), provider, required=True)
    except ModelRejected as error:  # the graph is valid, so the reason is the provider or one of its options
        raise DeviceUnavailable(f"HOURGLASS_DEVICE is {device.name}, which fails: {error.__cause__}") from error
    _require_provider(session, provider)


def _create_session(
    model: bytes, options: ort.SessionOptions, provider: Provider, *, required: bool
) -> ort.InferenceSession:
    """Create a session. If the provider is not `required` and raises an error, the CPU takes its place.

    Raises ModelRejected. onnxruntime raises no error for a provider whose libraries are missing: `_check_provider`.
    """
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers: list[Any] = [(provider.name, dict(provider.options))]
    if provider.device != CPU:
        providers.append(f"CPU{SUFFIX}")
    if provider.device == CUDA:
        ort.preload_dlls()
    try:
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=int(not required))
    except Exception as error:  # onnxruntime raises many unrelated classes for a bad graph
        # Remove the error code and the location in the source of onnxruntime.
        message = re.split(r"\) | : ", str(error).strip())[-1].strip(" ,")[:500]
        raise ModelRejected(f"onnxruntime {ort.__version__} cannot load the graph: {message}") from error


def _check_provider(session: ort.InferenceSession, choice: Choice[Provider], *, required: bool) -> Choice[str]:
    """Return the device that a session runs on, with the reason.

    Raises DeviceUnavailable if it is another than the `required` one, and ModelRejected if that one runs no node.
    """
    provider = choice.value
    if provider.device == CPU:
        return Choice(CPU, choice.reason)
    if not required and (session.get_providers()[0] != provider.name or not _nodes_by_provider(session)[provider.name]):
        return Choice(CPU, f"{choice.reason}, but could not use it")
    _require_provider(session, provider)
    return Choice(provider.device, assignment_reason(choice.reason, provider.device, _nodes_by_provider(session)))


def _require_provider(session: ort.InferenceSession, provider: Provider) -> None:
    if session.get_providers()[0] != provider.name:
        raise DeviceUnavailable(
            f"HOURGLASS_DEVICE is {provider.device}, but onnxruntime could not use it: see its log message above"
        )


def _nodes_by_provider(session: ort.InferenceSession) -> Counter[str]:
    """Return how many nodes of the graph each provider runs."""
    nodes: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += len(subgraph.get_nodes())
    return nodes


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

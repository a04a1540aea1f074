"""Names the execution providers of onnxruntime as devices, and chooses one of those that are installed.

`CUDAExecutionProvider` is the device `cuda`, `OpenVINOExecutionProvider` is `openvino`, and so on for all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.errors import ModelRejected
from service.runtime.hardware import Choice

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
SUFFIX = "ExecutionProvider"
NO_DEVICES = frozenset({"AzureExecutionProvider"})  # in every wheel: it calls services, and runs no graph
DEFAULT_OPTIONS: dict[str, dict[str, str]] = {
    CUDA: {
        "cudnn_conv_algo_search": "HEURISTIC",  # the default repeats the search for every batch size
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",  # TF32 has 10 bits of mantissa, which is too inexact for the probe
    }
}
"""Options by device. Those of the settings take precedence."""


class DeviceUnavailable(Exception):
    """The device was requested, and cannot be used. The service must not start."""


@dataclass(frozen=True, slots=True)
class Device:
    """An execution device as the settings name it, and options of its provider.

    `name` is `auto`, `cpu`, `cuda` or the name of another provider, in lower case.
    """

    name: str = CPU
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_required(self) -> bool:
        """Whether the service must not run on another device."""
        return self.name != AUTO


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of onnxruntime by its own name, with its options."""

    device: str
    name: str
    options: Mapping[str, str]


def device_name(provider: str) -> str:
    """Return the device of a provider: `cuda` for `CUDAExecutionProvider`."""
    return provider.removesuffix(SUFFIX).lower()


def choose_provider(device: Device, installed: Sequence[str]) -> Choice[Provider]:
    """Choose among the `installed` providers of onnxruntime: the one of the device; for `auto`, CUDA or else the CPU.

    The provider may still fail, for example without a GPU. `Session` checks that. Raises DeviceUnavailable if the
    device is none of them.
    """
    names = {device_name(provider): provider for provider in installed if provider not in NO_DEVICES}
    if device.name == AUTO:
        name, has = (CUDA, "has") if CUDA in names else (CPU, "has no")
        choice = Choice(name, f"auto: this onnxruntime {has} CUDA")
    else:
        choice = Choice(device.name, "set by configuration")
    if choice.value not in names:
        hint = ": install the gpu extra" if choice.value == CUDA else ""
        raise DeviceUnavailable(
            f"HOURGLASS_DEVICE is {choice.value}, which this onnxruntime does not have{hint}; "
            f"it has {', '.join(['auto', *sorted(names)])}"
        )
    options = {**DEFAULT_OPTIONS.get(choice.value, {}), **device.options}
    return Choice(Provider(choice.value, names[choice.value], options), choice.reason)


def assignment_reason(reason: str, device: str, nodes: Mapping[str, int]) -> str:
    """Return the reason of a device with how many nodes of a graph run on it. `nodes` are numbers by provider.

    Raises ModelRejected if no node does: the whole graph would run on the CPU.
    """
    total = sum(nodes.values())
    own = sum(count for provider, count in nodes.items() if device_name(provider) == device)
    if total and not own:
        raise ModelRejected(f"HOURGLASS_DEVICE is {device}, whose provider can run no node of the graph")
    return f"{reason}; the CPU runs {total - own} of {total} nodes" if own < total else reason

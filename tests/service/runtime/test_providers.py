"""Devices by the names of onnxruntime's providers: chosen from a list, and never replaced by the CPU in silence."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.errors import ModelRejected
from service.runtime import session
from service.runtime.providers import Device, DeviceUnavailable, choose_provider
from service.runtime.session import IDENTITY_MODEL, Session, check_device
from tests.support.environments import environment

ROOT = Path(__file__).parents[3]
CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"
REAL_SESSION = session.ort.InferenceSession


@pytest.mark.parametrize(
    ("device", "installed", "chosen"),
    [
        ("auto", [CUDA, CPU], "cuda"),
        ("auto", [OPENVINO, CPU], "cpu"),
        ("cpu", [CUDA, CPU], "cpu"),
        ("openvino", [OPENVINO, CPU], "openvino"),
        ("nvtensorrtrtx", ["NvTensorRTRTXExecutionProvider", CPU], "nvtensorrtrtx"),
        ("dml", ["DmlExecutionProvider", CPU], "dml"),
    ],
)
def test_device_is_the_name_of_a_provider(device: str, installed: list[str], chosen: str) -> None:
    choice = choose_provider(Device(device), installed)
    assert choice.value.device == chosen
    assert choice.value.name in installed
    assert ("auto" in choice.reason) == (device == "auto")


def test_unknown_device_lists_those_installed() -> None:
    with pytest.raises(DeviceUnavailable, match=r"HOURGLASS_DEVICE is gpu, .*it has auto, cpu, openvino$"):
        choose_provider(Device("gpu"), [OPENVINO, "AzureExecutionProvider", CPU])
    with pytest.raises(DeviceUnavailable, match=r"cuda, .*install the gpu extra"):
        choose_provider(Device("cuda"), [CPU])


def test_options_are_added_to_the_built_in_ones() -> None:
    options = choose_provider(Device("cuda", {"use_tf32": "1", "device_id": "2"}), [CUDA, CPU]).value.options
    assert (options["use_tf32"], options["device_id"], options["cudnn_conv_algo_search"]) == ("1", "2", "HEURISTIC")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("{", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ('{"a": {"b": 1}}', "a text or a number as the value of a"),
        ('{"use_tf32": true}', "a text or a number as the value of use_tf32"),
    ],
)
def test_bad_provider_options_are_refused(options: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"HOURGLASS_PROVIDER_OPTIONS.*{reason}"):
        Settings.from_env({"HOURGLASS_DEVICE": "openvino", "HOURGLASS_PROVIDER_OPTIONS": options})


def test_provider_options_need_a_named_device() -> None:
    with pytest.raises(ValueError, match="unless HOURGLASS_DEVICE names the execution provider"):
        Settings.from_env({"HOURGLASS_PROVIDER_OPTIONS": "{}"})
    variables = {"HOURGLASS_DEVICE": "OpenVINO", "HOURGLASS_PROVIDER_OPTIONS": '{"device_type": "CPU", "threads": 2}'}
    settings = Settings.from_env(variables)
    assert (settings.device, settings.execution_options) == ("openvino", {"device_type": "CPU", "threads": "2"})


@dataclass
class FakeSubgraph:
    """The nodes that a provider runs."""

    ep_name: str
    nodes: int

    def get_nodes(self) -> range:
        """Return as many entries as nodes."""
        return range(self.nodes)


@dataclass
class FakeOnnxruntime:
    """Sessions that run on the CPU and say what they are set to say about their providers.

    `active` are the providers of a new session, and `nodes` the numbers of nodes by provider. `error` is raised for
    sessions with another provider than the CPU.
    """

    active: list[str]
    nodes: dict[str, int] = field(default_factory=dict[str, int])
    error: str = ""

    def create(self, model: bytes, options: Any, providers: Sequence[Any], enable_fallback: int) -> Any:
        """Create a session as onnxruntime does: with `enable_fallback` the CPU takes the place of what fails."""
        if self.error and providers[0][0] != CPU and not enable_fallback:
            raise RuntimeError(self.error)
        real = REAL_SESSION(model, options, providers=[CPU])
        real.get_providers = lambda: self.active  # type: ignore[method-assign]
        real.get_provider_graph_assignment_info = lambda: [  # type: ignore[method-assign]
            FakeSubgraph(name, count) for name, count in self.nodes.items()
        ]
        return real


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOnnxruntime:
    """Return an onnxruntime that has OpenVINO and CUDA, of which a session uses what the test sets."""
    fake = FakeOnnxruntime([OPENVINO, CPU], {OPENVINO: 3})
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: [CUDA, OPENVINO, CPU])
    monkeypatch.setattr(session.ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(session.ort, "InferenceSession", fake.create)
    return fake


def test_required_device_is_reported(fake: FakeOnnxruntime) -> None:
    check_device(Device("openvino"))
    device = Session(IDENTITY_MODEL, device=Device("openvino")).device
    assert (device.value, device.reason) == ("openvino", "set by configuration")
    fake.nodes[CPU] = 2
    device = Session(IDENTITY_MODEL, device=Device("openvino")).device
    assert device.reason == "set by configuration; the CPU runs 2 of 5 nodes"


def test_provider_that_did_not_load_is_an_error(fake: FakeOnnxruntime) -> None:
    fake.active = [CPU]
    with pytest.raises(DeviceUnavailable, match="openvino, but onnxruntime could not use it"):
        check_device(Device("openvino"))
    with pytest.raises(DeviceUnavailable, match="openvino, but onnxruntime could not use it"):
        Session(IDENTITY_MODEL, device=Device("openvino"))


def test_provider_that_raises_is_an_error(fake: FakeOnnxruntime) -> None:
    fake.error = "Invalid OpenVINO EP option: nonsense"
    with pytest.raises(DeviceUnavailable, match="openvino, which fails: Invalid OpenVINO EP option"):
        check_device(Device("openvino", {"nonsense": "1"}))


def test_provider_that_runs_no_node_is_an_error(fake: FakeOnnxruntime) -> None:
    fake.nodes = {CPU: 4}
    with pytest.raises(ModelRejected, match="whose provider can run no node"):
        Session(IDENTITY_MODEL, device=Device("openvino"))


@pytest.mark.parametrize(("active", "nodes"), [([CPU], {CPU: 1}), ([CUDA, CPU], {CPU: 1})])
def test_auto_falls_back_with_a_reason(fake: FakeOnnxruntime, active: list[str], nodes: dict[str, int]) -> None:
    fake.active, fake.nodes, fake.error = active, nodes, "no GPU"
    device = Session(IDENTITY_MODEL, device=Device("auto")).device
    assert (device.value, device.reason) == ("cpu", "auto: this onnxruntime has CUDA, but could not use it")


SCRIPT = """
import json, sys
from pathlib import Path
from service.repository.layout import load_card
from service.repository.loader import load_graph
from service.runtime.providers import Device, DeviceUnavailable
from service.runtime.session import check_device
folder, failed = Path(sys.argv[1]), ""
check_device(Device("openvino", {"device_type": "CPU"}))
try:
    check_device(Device("openvino", {"device_type": "GPU"}))
except DeviceUnavailable as error:
    failed = str(error)
card = load_card(folder)
sessions = [load_graph(folder, card, graph, device=Device("openvino")) for graph in card.graphs]
print(json.dumps([failed, *(session.device.value for session in sessions)]))
"""


@pytest.mark.slow
def test_openvino_reproduces_the_probes_of_a_model() -> None:
    python = environment("openvino")
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "models/digits/1")]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    failed, *devices = json.loads(run.stdout.splitlines()[-1])
    assert devices == ["openvino"] * 3
    assert "could not use it" in failed or not failed  # a machine may have a GPU of Intel

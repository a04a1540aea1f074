"""Sums of products of 8-bit numbers: where they overflow, int8 graphs are computed exactly or refused."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from service.card import Card
from service.errors import ModelRejected
from service.repository import loader
from service.repository.layout import load_card
from service.repository.loader import load_graph, load_runner
from service.runtime.providers import Device
from service.runtime.session import SUMS_MODEL, SUMS_SIDE, int8_sums_overflow
from service.runtime.tuning import LoadOptions

ROOT = Path(__file__).parents[3]
OPTIONS = LoadOptions(Device(), 0, 8, ThreadPoolExecutor(1), 1)
Array = NDArray[Any]


def saturating_product(inputs: Array, weights: Array) -> Array:
    """Return uint8 (n, k) times int8 (k, m) by `vpmaddubsw`: sums of two products saturate at 16 bits."""
    products = inputs.astype(np.int64)[:, :, np.newaxis] * weights.astype(np.int64)
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, -(1 << 15), (1 << 15) - 1).sum(axis=1)


def test_model_of_sums_is_what_onnx_writes() -> None:
    weights = np.full((SUMS_SIDE, SUMS_SIDE), 127, np.int8)
    info = onnx.helper.make_tensor_value_info
    ports = [
        info(name, kind, ["n", SUMS_SIDE])
        for name, kind in (("x", onnx.TensorProto.UINT8), ("y", onnx.TensorProto.INT32))
    ]
    nodes = [onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])]
    initializers = [onnx.numpy_helper.from_array(weights, "w")]
    graph = onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    assert model.SerializeToString() == SUMS_MODEL


def test_the_sums_show_saturation_and_7_bits_do_not() -> None:
    inputs = np.full((2, SUMS_SIDE), 255, np.uint8)
    for largest, saturates in ((127, True), (64, False)):
        weights = np.full((SUMS_SIDE, SUMS_SIDE), largest, np.int8)
        exact = inputs.astype(np.int64) @ weights.astype(np.int64)
        assert (saturating_product(inputs, weights) != exact).any() == saturates


def test_exact_sums_never_overflow() -> None:
    assert not int8_sums_overflow(exact_int8=True)


@pytest.mark.slow
def test_sums_overflow_on_an_emulated_processor() -> None:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("qemu-x86_64 is not installed")
    code = "from service.runtime.session import int8_sums_overflow as o; print(o(), o(exact_int8=True))"
    command = [emulator, "-cpu", "max", sys.executable, "-c", code]  # qemu emulates AVX2, and no VNNI
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environ, timeout=600)
    assert run.stdout.split() == ["True", "False"]


@pytest.fixture
def both(models: Path) -> Card:
    """Return the card of the tiny digits model with its graph of `denoise` as float32, and again as int8."""
    card = load_card(models / "digits" / "1")
    (float32,) = (graph for graph in card.graphs if graph.operation == "denoise")
    return card.model_copy(update={"graphs": [float32, float32.model_copy(update={"precision": "int8"})]})


def overflow(monkeypatch: pytest.MonkeyPatch, *, exactly: bool) -> list[bool]:
    """Make sums overflow, and with `exactly` those of the exact option too. Return the options of later sessions."""
    monkeypatch.setattr(loader, "int8_sums_overflow", lambda *, exact_int8=False: exactly or not exact_int8)
    created: list[bool] = []
    session = loader.Session

    def create(*arguments: Any, exact_int8: bool = False, **rest: Any) -> Any:
        created.append(exact_int8)
        return session(*arguments, exact_int8=exact_int8, **rest)

    monkeypatch.setattr(loader, "Session", create)
    return created


def test_overflowing_graph_is_computed_exactly(monkeypatch: pytest.MonkeyPatch, models: Path, both: Card) -> None:
    created = overflow(monkeypatch, exactly=False)
    seven = both.graphs[1].model_copy(update={"weight_bits": 7})
    for graph in (*both.graphs, seven):
        load_graph(models / "digits" / "1", both, graph)
    assert created == [False, True, False]  # float32, int8, and int8 with weights of 7 bits


def test_graph_that_cannot_be_exact_is_refused(monkeypatch: pytest.MonkeyPatch, models: Path, both: Card) -> None:
    overflow(monkeypatch, exactly=True)
    set_int8 = replace(OPTIONS, precision="int8")
    with pytest.raises(ModelRejected, match=r"denoise\.onnx is not exact on this processor"):
        load_runner(models / "digits" / "1", both, "denoise", set_int8)
    precision = load_runner(models / "digits" / "1", both, "denoise", OPTIONS).choices["precision"]
    assert precision.value == "float32"
    assert "float32 takes" in precision.reason
    assert "not exact on this processor" in precision.reason


def test_choice_between_precisions_has_the_figures(models: Path, both: Card) -> None:
    precision = load_runner(models / "digits" / "1", both, "denoise", OPTIONS).choices["precision"]
    assert precision.reason.startswith("measured on this processor: float32 takes ")
    assert " ms, int8 takes " in precision.reason


def test_altered_graph_of_any_precision_is_rejected(models: Path, both: Card) -> None:
    altered = both.graphs[1].model_copy(update={"sha256": "0" * 64})
    card = both.model_copy(update={"graphs": [both.graphs[0], altered]})
    with pytest.raises(ModelRejected, match="SHA-256"):
        load_runner(models / "digits" / "1", card, "denoise", OPTIONS)

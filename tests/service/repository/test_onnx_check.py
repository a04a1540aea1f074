"""External data and custom operators are rejected before onnxruntime reads the graph."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from service.errors import ModelRejected
from service.repository.onnx_check import check_model

MODELS = sorted((Path(__file__).parents[3] / "models").glob("*/*/*.onnx"))
FLOAT = TensorProto.FLOAT
WEIGHT = numpy_helper.from_array(np.eye(3, dtype=np.float32), "weight")


def model(nodes: list[Any] | None = None, **parts: Any) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(name, FLOAT, [None, 3]) for name in ("x", "y")]
    default = [helper.make_node("MatMul", ["x", "weight"], ["y"])]
    held: dict[str, Any] = {"initializer": [WEIGHT], **parts}
    graph = helper.make_graph(nodes or default, "g", ports[:1], ports[1:], **held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def elsewhere(where: str = "/etc/passwd", name: str = "weight") -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[3, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=where)
    return tensor


def sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array([0, 4, 8]), "indices")
    return onnx.SparseTensorProto(values=elsewhere(name="weight"), indices=indices, dims=[3, 3])


def in_a_branch() -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere())
    out = helper.make_tensor_value_info("w", FLOAT, [3, 3])
    branch = helper.make_graph([constant], "branch", [], [out])
    choose = helper.make_node("If", ["yes"], ["weight2"], then_branch=branch, else_branch=branch)
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model([choose, helper.make_node("MatMul", ["x", "weight2"], ["y"])], initializer=[yes])


def of_a_domain() -> onnx.ModelProto:
    proto = model([helper.make_node("Own", ["x"], ["y"], domain="my.own")])
    proto.opset_import.append(helper.make_opsetid("my.own", 1))
    return proto


def of_an_undeclared_domain() -> onnx.ModelProto:
    return model([helper.make_node("Own", ["x"], ["y"], domain="my.own")])


def deep(levels: int) -> onnx.ModelProto:
    out = helper.make_tensor_value_info("w", FLOAT, [3, 3])
    nodes = [helper.make_node("Identity", ["weight"], ["w"])]
    for _ in range(levels):
        branch = helper.make_graph(nodes, "branch", [], [out])
        nodes = [helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)]
    return model(nodes)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parts[-3]} {path.stem}")
def test_shipped_graphs_are_accepted(path: Path) -> None:
    check_model(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: model(initializer=[elsewhere()]), "another file"),
        (lambda: model(initializer=[elsewhere("*/_ORT_MEM_ADDR_/*")]), "another file"),
        (lambda: model(initializer=[], sparse_initializer=[sparse()]), "another file"),
        (in_a_branch, "another file"),
        (of_a_domain, "not part of onnxruntime"),
        (of_an_undeclared_domain, "not part of onnxruntime"),
        (lambda: deep(12), "taken"),
        (lambda: deep(18), "more than 16 subgraphs"),
    ],
    ids=["dense", "memory", "sparse", "in a branch", "domain", "undeclared domain", "deep", "too deep"],
)
def test_external_data_and_custom_operators_are_rejected(build: Any, said: str) -> None:
    content = build().SerializeToString()
    if said == "taken":
        check_model(content, "a.onnx")
        return
    with pytest.raises(ModelRejected) as refused:
        check_model(content, "a.onnx")
    assert said in refused.value.detail


def test_truncated_graph_is_rejected() -> None:
    content = model().SerializeToString()
    check_model(content, "a.onnx")
    with pytest.raises(ModelRejected, match="truncated or corrupt"):
        check_model(content[:-3], "a.onnx")


@given(st.binary(max_size=200))
def test_checking_any_bytes_raises_only_model_rejected(data: bytes) -> None:
    with suppress(ModelRejected):
        check_model(data, "a.onnx")


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_checking_corrupt_graph_raises_only_model_rejected(at: int, value: int) -> None:
    content = bytearray(in_a_branch().SerializeToString())
    content[at % len(content)] = value
    with suppress(ModelRejected):
        check_model(bytes(content), "a.onnx")

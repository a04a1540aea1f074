"""The model of one node with which CUDA is checked before the service starts."""

import numpy as np
import onnx

from service.runtime.session import IDENTITY_MODEL, Session


def test_identity_model_is_what_onnx_writes() -> None:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    assert model.SerializeToString() == IDENTITY_MODEL


def test_identity_model_runs() -> None:
    assert Session(IDENTITY_MODEL).run(np.array([0.5], np.float32)) == [0.5]

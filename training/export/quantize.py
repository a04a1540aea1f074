"""Static int8 quantization of the convolutions of a float32 graph. All else stays in float32.

The ranges of the activations are calibrated on images, and the weights are rounded by the inputs on them.
"""

from collections.abc import Sequence
from typing import Any

import onnx
from numpy.typing import NDArray

from training.errors import PublishError
from training.export.activations import observe
from training.export.channels_last import add_channels_last
from training.export.int8_graph import insert_int8, int8_convolutions, remove_identity_pools
from training.export.weight_rounding import round_weights

WEIGHT_BITS = 7
"""Bits of the weights. Without VNNI, onnxruntime adds products of two pairs in 16 bits, which 8 bits overflow."""


def quantize(graph: bytes, arrays: Sequence[NDArray[Any]], percentile: float = 100.0) -> bytes:
    """Quantize a serialized ONNX model, calibrated by running it on each of `arrays` (N, ...).

    Ranges hold `percentile` percent of the values of an activation at each end; others are clipped.
    Raises PublishError if the graph has no `int8_convolutions`.
    """
    model = onnx.load_from_string(graph)
    remove_identity_pools(model.graph)
    convolutions = int8_convolutions(model.graph)
    if not convolutions:
        raise PublishError(
            "the net has no convolution larger than 1x1 between the first and the last, and no other is quantized: set "
            "model.int8 = false"
        )
    activations = observe(model, convolutions, arrays)
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {
        one.name: round_weights(tensors[one.weights], activations.moments[one.name], WEIGHT_BITS)
        for one in convolutions
    }
    insert_int8(model.graph, convolutions, activations.ranges(percentile), weights)
    add_channels_last(model.graph)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
